"""From a configuration to a runtime: resolve, import, build models, derive budgets, wire.

The one place that knows the catalogue, the store and the engine together. The router is handed in: this package
does not import it. Everything slow here reports progress; one expert that cannot be had does not stop the others.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch

from coe.config.budgets import Budgets, derive_budgets
from coe.config.catalog import Catalog, ExpertSpec, load_catalog
from coe.config.schema import Config
from coe.engine.loop import Engine, LoadedExpert
from coe.errors import ConfigError, ExpertError, WeightsError
from coe.metrics import Metrics
from coe.models.cpu.fused import Fused
from coe.models.cuda.capture import CudaRecorder
from coe.models.cuda.graphs import DecodeGraphs
from coe.models.cuda.paged_kv import KvPages, PagedStore, page_bytes_of
from coe.models.llama.model import LlamaModel, LlamaShape, widens_bfloat16
from coe.models.matmul import int8_is_exact
from coe.models.model import Model
from coe.models.transformers import ModulesModel
from coe.runtime import Runtime, ServedExpert
from coe.scheduling.scheduler import Limits
from coe.text.templates import load_text
from coe.types import Router, Sampling
from coe.weights.cache import WeightCache
from coe.weights.memory.allocation import PinnedMemory
from coe.weights.memory.device import CopyDevice, EmulatedDevice, StreamDevice, cuda_device
from coe.weights.residency.fit import check_fits
from coe.weights.store.importer import import_expert
from coe.weights.store.originals import OriginalFiles
from coe.weights.store.unit_store import UnitStore
from coe.weights.transfer import Arrived, UnitSource
from coe.weights.unit import Manifest

__all__ = ["Imported", "Progress", "build_runtime", "choose_device", "import_experts", "imported_experts", "wire"]

log = logging.getLogger("coe.assembly.wire")

Progress = Callable[[str, int, int], None]  # "import <expert>" or "pin host memory", bytes done, bytes in all
_CUDA = torch.device("cuda")


@dataclass(frozen=True, slots=True)
class Imported:
    """An expert whose units are in the store."""

    spec: ExpertSpec
    manifest: Manifest


def build_runtime(config: Config, router: Router, *, progress: Progress | None = None) -> Runtime:
    """Import every expert and wire a runtime that is ready to `start`; raises ConfigError if none can be had."""
    device = choose_device(config.engine.device)
    catalog, store = load_catalog(config), open_store(config)
    originals = OriginalFiles() if config.cache.store == "in-place" else None
    imported, errors = import_experts(catalog, originals or store, device, progress)
    if originals is not None:
        size_bytes = sum(expert.manifest.size_bytes for expert in imported)
        log.warning(
            "store in-place: %d bytes of disk saved; every load is gathered, cast and merged anew through the page "
            "cache, and only units of the very same files are shared",
            size_bytes,
        )
    return wire(config, router, store, imported, errors, catalog.names, source=originals, progress=progress)


def wire(
    config: Config,
    router: Router,
    store: UnitStore,
    imported: list[Imported],
    errors: dict[str, ExpertError],
    names: Mapping[str, str],
    *,
    source: UnitSource | None = None,
    progress: Progress | None = None,
) -> Runtime:
    """Wire a runtime over experts that are imported; `source` reads their units in the store's place."""
    device = choose_device(config.engine.device)
    budgets = derive_budgets(config.cache, config.engine, device)
    log.info("budgets device=%s %s", device, budgets)
    served = _serve_all(imported, config, device, budgets, errors)
    _check(served, errors, config)
    metrics = Metrics()
    pages = page_kv(served, budgets.kv_bytes) if _has_pages(device) else None
    graphs = DecodeGraphs(budgets.graph_bytes, CudaRecorder(_CUDA)) if pages and config.engine.cuda_graphs else None
    engine = Engine(
        {name: expert.loaded for name, expert in served.items()},
        lambda post: _make_cache(
            source or store, config, budgets, _copy_device(config, device, budgets, graphs), post, progress
        ),
        _limits(config, budgets.kv_bytes if pages is None else pages.budget_bytes),
        metrics,
        num_threads=config.engine.num_threads or os.cpu_count(),
        prefix_reuse=config.engine.prefix_reuse,
        graphs=graphs,
    )
    weighs_residency = config.router.residency_epsilon > 0
    return Runtime(served, errors, names, router, engine, metrics, store, weighs_residency=weighs_residency)


def imported_experts(config: Config) -> tuple[UnitStore, list[Imported], dict[str, ExpertError]]:
    """The store with every expert of a configuration in it, for work on the store itself."""
    if config.cache.store == "in-place":
        raise ConfigError('[cache] store = "in-place": there is no store of units to work on; write store = "units"')
    store = UnitStore(config.cache.dir, heals=False)  # `verify` is to find what is wrong, not to mend it unseen
    imported, errors = import_experts(load_catalog(config), store, choose_device(config.engine.device))
    return store, imported, errors


def open_store(config: Config) -> UnitStore:
    return UnitStore(config.cache.dir, rehash=config.cache.rehash_loads)


def choose_device(wanted: str) -> str:
    """Return cpu, cuda or emulated; raises ConfigError for a CUDA that is not there."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError('[engine] device = "cuda": torch sees no CUDA device; write "auto" or "cpu"')
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


def import_experts(
    catalog: Catalog, store: UnitStore | OriginalFiles, device: str, progress: Progress | None = None
) -> tuple[list[Imported], dict[str, ExpertError]]:
    """Write what the store lacks; experts that cannot be imported are in the second result, by name."""
    imported: list[Imported] = []
    errors: dict[str, ExpertError] = dict(catalog.errors)
    for spec in catalog:
        try:
            imported.append(Imported(spec, _import(spec, store, device, progress)))
        except ExpertError as error:
            log.error("import expert=%s error=%s", spec.name, error)
            errors[spec.name] = error
    return imported, errors


def _import(spec: ExpertSpec, store: UnitStore | OriginalFiles, device: str, progress: Progress | None) -> Manifest:
    """Matrices stay in bfloat16 on a CPU that computes in float32, where the fast path reads them as they are."""

    def run(*, keeps_bfloat16: bool) -> Manifest:
        if isinstance(store, OriginalFiles):
            return store.add(spec, device=device, keeps_bfloat16=keeps_bfloat16)
        return import_expert(store, spec, device=device, keeps_bfloat16=keeps_bfloat16, progress=_of(spec, progress))

    keeps_bfloat16 = device != "cuda" and spec.dtype == "auto" and widens_bfloat16(spec.folder / "config.json")
    manifest = run(keeps_bfloat16=keeps_bfloat16)
    if keeps_bfloat16 and LlamaShape.of(manifest) is None:  # a tensor that only transformers' modules know
        return run(keeps_bfloat16=False)
    return manifest


def _of(spec: ExpertSpec, progress: Progress | None) -> Callable[[int, int], None] | None:
    return None if progress is None else partial(progress, f"import {spec.name}")


def _serve_all(
    imported: list[Imported], config: Config, device: str, budgets: Budgets, errors: dict[str, ExpertError]
) -> dict[str, ServedExpert]:
    models = _Models(torch.device("cuda" if device == "cuda" else "cpu"))
    served: dict[str, ServedExpert] = {}
    for expert in imported:
        name, sizes = expert.spec.name, {"host_bytes": budgets.host_bytes, "device_bytes": budgets.device_bytes}
        try:
            candidate = _serve(expert, models, config)
            is_streamable = candidate.loaded.model.runs_by_unit
            check_fits(name, expert.manifest, is_streamable=is_streamable, **sizes)
            served[name] = candidate
        except ExpertError as error:
            log.error("serve expert=%s error=%s", name, error)
            errors[name] = error
    return served


def _serve(expert: Imported, models: _Models, config: Config) -> ServedExpert:
    spec, manifest = expert.spec, expert.manifest
    if manifest.dtype == "int8":
        _check_int8(spec.name, manifest, models.device)
    elif spec.weights == "bfloat16" and (models.device.type != "cpu" or LlamaShape.of(manifest) is None):
        why = "only the fast path on a CPU computes in float32 with them"
        raise WeightsError(spec.name, f'weights = "bfloat16" cannot be used: {why}; write dtype = "bfloat16"')
    model, path = models.of(manifest)
    text = load_text(spec.name, manifest.tokenizer_dir, manifest.config, manifest.generation_config, spec.chat_template)
    return ServedExpert(
        loaded=LoadedExpert(spec.name, manifest, model, spec.keep_alive_s),
        text=text,
        path=path,
        aliases=spec.aliases,
        defaults=_defaults(spec, config),
        is_pinned=spec.pin,
        is_preloaded=spec.preload,
    )


def _defaults(spec: ExpertSpec, config: Config) -> Sampling:
    chosen = spec.generation
    return replace(
        chosen,
        max_tokens=chosen.max_tokens or config.engine.max_tokens,
        temperature=1.0 if chosen.temperature is None else chosen.temperature,
        top_p=1.0 if chosen.top_p is None else chosen.top_p,
        top_k=chosen.top_k or 0,
        min_p=chosen.min_p or 0.0,
        repetition_penalty=1.0 if chosen.repetition_penalty is None else chosen.repetition_penalty,
        presence_penalty=chosen.presence_penalty or 0.0,
        frequency_penalty=chosen.frequency_penalty or 0.0,
    )


def _check_int8(expert: str, manifest: Manifest, device: torch.device) -> None:
    """Raise WeightsError where int8 weights cannot be multiplied with, or not exactly."""
    if LlamaShape.of(manifest) is None:
        why = "its architecture runs through transformers' modules, which know no int8"
    elif device.type != "cpu":
        why = "int8 runs on the CPU only so far"
    elif not int8_is_exact():
        why = "this processor's int8 products overflow (it has no VNNI)"
    elif Fused.load() is None:
        why = "it needs numba (pip install 'coe-serve[cpu]')"
    else:
        return
    raise WeightsError(expert, f'weights = "int8" cannot be used: {why}; write weights = "full"')


class _Models:
    """One model per architecture: experts of one shape differ only in pointers."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._models: dict[str, tuple[Model, str]] = {}

    def of(self, manifest: Manifest) -> tuple[Model, str]:
        dtypes = sorted({spec.dtype for unit in manifest.units for spec in unit.tensors})
        key = json.dumps([manifest.config, dtypes, dict(manifest.tied)], sort_keys=True)
        if key not in self._models:
            self._models[key] = self._build(manifest)
        return self._models[key]

    def _build(self, manifest: Manifest) -> tuple[Model, str]:
        shape = LlamaShape.of(manifest)
        if shape is not None:
            return LlamaModel(shape, manifest.config, self.device), "llama"
        return ModulesModel(manifest, self.device), "modules"


def _has_pages(device: str) -> bool:
    """Where KV is kept in pages and decode steps can be captured."""
    return device == "cuda"


def page_kv(served: Mapping[str, ServedExpert], kv_bytes: int) -> KvPages | None:
    """Have all experts keep their KV in pages of one buffer; None, with a warning, where they cannot."""
    others = [name for name, expert in served.items() if not isinstance(expert.loaded.model, LlamaModel)]
    if others:
        log.warning(
            "every decode step runs eagerly: %s has another architecture than the fast path's, and its KV no pages; "
            "serve it apart to have the others' steps captured",
            ", ".join(others),
        )
        return None
    models = {id(model): model for expert in served.values() if isinstance(model := expert.loaded.model, LlamaModel)}
    page_bytes = page_bytes_of([model.kv_shape for model in models.values()])
    if page_bytes is None:
        log.warning("every decode step runs eagerly: the experts' KV has sizes that share no page; serve them apart")
        return None
    if kv_bytes < 2 * page_bytes:
        raise ConfigError(f"[engine] kv_bytes = {kv_bytes:,} is less than two blocks of {page_bytes:,} bytes; raise it")
    pages = KvPages(kv_bytes, page_bytes, next(iter(models.values())).device)
    for model in models.values():
        model.kv = PagedStore(pages, model.kv_shape)
    return pages


def _make_cache(
    source: UnitSource,
    config: Config,
    budgets: Budgets,
    copy_device: CopyDevice | None,
    post: Callable[[Arrived], None],
    progress: Progress | None,
) -> WeightCache:
    pinning = None if progress is None else partial(progress, "pin host memory")
    return WeightCache(
        source,
        host_bytes=budgets.host_bytes,
        device=copy_device,
        device_bytes=budgets.device_bytes,
        post=post,
        host_memory=PinnedMemory(budgets.host_bytes, pinning) if isinstance(copy_device, StreamDevice) else None,
        eviction=config.cache.eviction,
    )


def _copy_device(config: Config, device: str, budgets: Budgets, graphs: DecodeGraphs | None) -> CopyDevice | None:
    if device == "cuda":
        return cuda_device(_CUDA, budgets.device_bytes, *([] if graphs is None else [graphs.forget]))
    if device == "emulated":
        return EmulatedDevice(budgets.device_bytes, copy_link_bytes_per_s=config.engine.copy_link_bytes_per_s)
    return None


def _limits(config: Config, kv_bytes: int) -> Limits:
    scheduler, engine = config.scheduler, config.engine
    return Limits(
        policy=scheduler.policy,
        max_batch_size=engine.max_batch_size,
        max_step_tokens=engine.max_step_tokens,
        max_queue=scheduler.max_queue,
        max_queue_per_expert=scheduler.max_queue_per_expert,
        deadline_s=scheduler.deadline_s,
        max_wait_s=scheduler.max_wait_s,
        slice_steps=scheduler.slice_steps,
        kv_bytes=kv_bytes,
    )


def _check(served: Mapping[str, ServedExpert], errors: Mapping[str, ExpertError], config: Config) -> None:
    """The general expert answers whatever the router is unsure of: without it there is no composition."""
    general = config.router.general
    if general not in served:
        raise ConfigError(f"the general expert cannot be had: {errors[general]}")
