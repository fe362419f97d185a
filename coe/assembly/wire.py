"""From a configuration to a runtime: import, choose backends, derive budgets, wire.

The one place that knows the catalogue, the store and the engine together. The router is handed in: this module does not
import it. Everything slow reports progress.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from coe.answers.cache import AnswerCache
from coe.assembly.backends import Backends, share_pages
from coe.assembly.import_experts import Imported, Progress, import_experts, open_store
from coe.assembly.processor import Processor, choose_device, processor_of
from coe.assembly.served import prepare, serve
from coe.config.budgets import Budgets, derive_budgets
from coe.config.catalog import load_catalog
from coe.config.schema import AnswerCacheConfig, CacheConfig, Config, EngineConfig, ExpertConfig, SchedulerConfig
from coe.embedding.embedder import LateEmbedder
from coe.engine.loop import Engine
from coe.errors import ConfigError, ExpertError
from coe.experts import Experts, ServedExpert, identity_of
from coe.machine.allowance import usable_cpus
from coe.machine.heap import trim_heap
from coe.models.cuda.capture import CudaRecorder
from coe.models.cuda.graphs import DecodeGraphs
from coe.models.cuda.paged_kv import KvPages
from coe.runtime import Runtime
from coe.scheduling.fcfs import FcfsPolicy
from coe.scheduling.limits import Limits
from coe.scheduling.policy import SchedulingPolicy
from coe.scheduling.value import ValuePolicy
from coe.telemetry.hub import Publish
from coe.telemetry.telemetry import Telemetry
from coe.types import Router
from coe.weights.cache import WeightCache
from coe.weights.memory.allocation import PinnedMemory
from coe.weights.memory.device import CopyDevice, EmulatedDevice, StreamDevice, cuda_device
from coe.weights.store.originals import OriginalFiles
from coe.weights.store.unit_store import UnitStore
from coe.weights.transfer import Arrived, UnitSource

__all__ = ["build_runtime", "wire"]

log = logging.getLogger("coe.assembly")

POLICIES: Mapping[str, Callable[[], SchedulingPolicy]] = {"value": ValuePolicy, "fcfs": FcfsPolicy}


def build_runtime(
    config: Config, router: Router, *, progress: Progress | None = None, encoder: LateEmbedder | None = None
) -> Runtime:
    """Import every expert and wire a runtime that is ready to `start`; raises ConfigError if none can be had.

    `encoder` is what clients' texts are embedded with where they name no expert for it.
    """
    processor, store = processor_of(choose_device(config.engine.device)), open_store(config.cache)
    note = None if progress is None else partial(_note, progress)
    catalog = load_catalog(config.experts, config.engine.dtype, note=note)
    originals = OriginalFiles() if config.cache.store == "in-place" else None
    imported, errors = import_experts(catalog, originals or store, processor, progress)
    if originals is not None:
        log.warning(
            "store in-place: %d bytes of disk saved; every load is gathered, cast and merged anew through the page "
            "cache, and only units of the very same files are shared",
            sum(expert.manifest.size_bytes for expert in imported),
        )
    if note is not None:
        note("loading tokenizers and choosing backends")
    return wire(
        config, router, store, imported, errors, catalog.names, source=originals, progress=progress, encoder=encoder
    )


def wire(
    config: Config,
    router: Router,
    store: UnitStore,
    imported: Sequence[Imported],
    errors: Mapping[str, ExpertError],
    names: Mapping[str, str],
    *,
    source: UnitSource | None = None,
    progress: Progress | None = None,
    encoder: LateEmbedder | None = None,
) -> Runtime:
    """Wire a runtime over imported experts; `source`, where there is one, reads their units in the store's place."""
    device = choose_device(config.engine.device)
    processor, budgets = processor_of(device), derive_budgets(config.cache, config.engine, device)
    log.info("budgets device=%s %s", device, budgets)
    prepared = prepare(imported, processor, budgets)
    choices = {expert.imported.spec.name: expert.choice for expert in prepared.experts}
    pages = share_pages(choices, budgets.kv_bytes, processor) if processor.has_pages else None
    graphs = _graphs(pages, config.engine, budgets, processor)
    backends = Backends(processor, pages, graphs)
    served, pooled, unbound = serve(prepared, backends, config.engine.max_tokens)
    errors = {**errors, **prepared.errors, **unbound}
    _check_served(served, errors, config.router.general)
    copy_device = _copy_device(device, config.engine, budgets, processor, graphs)
    telemetry = Telemetry(config.telemetry)
    engine = Engine(
        {each.name: each for each in (*(e.loaded for e in served.values()), *(e.loaded for e in pooled.values()))},
        partial(_make_cache, source or store, config.cache, budgets, copy_device, progress, telemetry.hub.publish),
        _limits(config.scheduler, config.engine, budgets.kv_bytes if pages is None else pages.budget_bytes),
        POLICIES[config.scheduler.policy](),
        telemetry.metrics,
        num_threads=config.engine.num_threads or usable_cpus(),
        prefix_reuse=config.engine.prefix_reuse,
        publish=telemetry.hub.publish,
    )
    weighs_loads = config.router.score_per_second > 0
    fallbacks = _fallbacks(config.experts, {*served, *errors})
    experts = Experts(served, errors, names, fallbacks, config.router.descriptions, pooled)
    trim_heap()  # imports and tokenizers have left some hundred megabytes in it
    answers = AnswerCache(config.answer_cache, _identities(config.answer_cache, experts))
    return Runtime(experts, router, engine, telemetry, store, answers, weighs_loads=weighs_loads, encoder=encoder)


def _identities(answer_cache: AnswerCacheConfig, experts: Experts) -> dict[str, str]:
    """Return what each expert is made of; hashing tokenizers takes a tenth of a second each."""
    return {name: identity_of(expert) for name, expert in experts.served.items()} if answer_cache.enabled else {}


def _fallbacks(experts: Sequence[ExpertConfig], known: Collection[str]) -> dict[str, tuple[str, ...]]:
    return {expert.name: tuple(name for name in expert.fallbacks if name in known) for expert in experts}


def _note(progress: Progress, what: str) -> None:
    progress(what, 0, 0)


def _check_served(served: Mapping[str, ServedExpert], errors: Mapping[str, ExpertError], general: str) -> None:
    """Name the experts that are refused; raises ConfigError if no other is left.

    Without the general one the others are served, too.
    """
    if not served:
        raise ConfigError("\n  ".join([f"none of the {len(errors)} experts can be served", *map(str, errors.values())]))
    for error in errors.values():
        log.error("refused %s", error)
    if general in errors:
        log.error("the general expert '%s' is refused: prompts that the router is unsure of have no answer", general)


def _graphs(pages: KvPages | None, engine: EngineConfig, budgets: Budgets, processor: Processor) -> DecodeGraphs | None:
    if pages is None or not engine.cuda_graphs:
        return None
    return DecodeGraphs(budgets.graph_bytes, CudaRecorder(processor.device))


def _copy_device(
    device: str, engine: EngineConfig, budgets: Budgets, processor: Processor, graphs: DecodeGraphs | None
) -> CopyDevice | None:
    if device == "cuda":
        return cuda_device(processor.device, budgets.device_bytes, *([] if graphs is None else [graphs.forget]))
    if device == "emulated":
        return EmulatedDevice(budgets.device_bytes, copy_link_bytes_per_s=engine.copy_link_bytes_per_s)
    return None


def _make_cache(
    source: UnitSource,
    cache: CacheConfig,
    budgets: Budgets,
    copy_device: CopyDevice | None,
    progress: Progress | None,
    publish: Publish,
    post: Callable[[Arrived], None],
) -> WeightCache:
    pinning = None if progress is None else partial(progress, "pin host memory")
    return WeightCache(
        source,
        host_bytes=budgets.host_bytes,
        device=copy_device,
        device_bytes=budgets.device_bytes,
        post=post,
        host_memory=PinnedMemory(budgets.host_bytes, pinning) if isinstance(copy_device, StreamDevice) else None,
        eviction=cache.eviction,
        publish=publish,
    )


def _limits(scheduler: SchedulerConfig, engine: EngineConfig, kv_bytes: int) -> Limits:
    return Limits(
        max_batch_size=engine.max_batch_size,
        max_step_tokens=engine.max_step_tokens,
        max_queue=scheduler.max_queue,
        max_queue_per_expert=scheduler.max_queue_per_expert,
        deadline_s=scheduler.deadline_s,
        max_wait_s=scheduler.max_wait_s,
        slice_steps=scheduler.slice_steps,
        kv_bytes=kv_bytes,
    )
