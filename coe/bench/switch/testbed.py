"""What a benchmark runs on: runtimes over given experts with memory for so many of them, and questions that are timed.

Owns the budgets, the router that does as it is told and a disk that can be throttled. Knows nothing about cases, tables
or rivals.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from coe.assembly.import_experts import Imported
from coe.assembly.wire import wire
from coe.config.schema import Config
from coe.runtime import Runtime
from coe.types import Decision, Delta, Finished, GenerateRequest, Message, RouteQuery, Sampling, Switch
from coe.weights.store.unit_store import UnitStore
from coe.weights.transfer import UnitSource
from coe.weights.unit import ALIGNMENT, Unit

__all__ = ["Answer", "Testbed", "ThrottledDisk", "ask", "backends_of", "home_of", "unload"]

KV_BYTES = 256 << 20
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Testbed:
    """Experts of one size and the configuration that says how to run them."""

    config: Config
    store: UnitStore
    imported: Sequence[Imported]

    @property
    def names(self) -> list[str]:
        return [expert.spec.name for expert in self.imported]

    @property
    def expert_bytes(self) -> int:
        return max(expert.manifest.size_bytes for expert in self.imported)

    @property
    def distinct_bytes(self) -> int:
        """What all experts take together, shared units counted once."""
        units = {unit.hash: unit.size_bytes for expert in self.imported for unit in expert.manifest.units}
        return sum(units.values())

    @property
    def fits_all(self) -> float:
        """How many experts of the largest size take as much as all of them, and a page more."""
        return self.distinct_bytes / self.expert_bytes + 0.01

    @property
    def shared_share(self) -> float:
        """How much of what the experts take apart is saved by holding shared units once."""
        return 1.0 - self.distinct_bytes / sum(expert.manifest.size_bytes for expert in self.imported)

    @asynccontextmanager
    async def runtime(
        self,
        device: str,
        *,
        fits: float,
        host_fits: float | None = None,
        copy_link_bytes_per_s: int | None = None,
        source: UnitSource | None = None,
        eviction: str = "value",
        schedule: Mapping[str, Any] | None = None,
    ) -> AsyncGenerator[Runtime]:
        """A started runtime whose device holds `fits` experts and whose host `host_fits` (default: all)."""
        device_bytes = self._bytes_of(fits) + KV_BYTES
        host_bytes = device_bytes if device == "cpu" else self._bytes_of(host_fits or len(self.imported))
        config = replace(
            self.config,
            router=replace(self.config.router, general=self.names[0]),
            cache=replace(self.config.cache, host_bytes=host_bytes, device_bytes=device_bytes, eviction=eviction),  # type: ignore[arg-type]
            engine=replace(
                self.config.engine,
                device=device,  # type: ignore[arg-type]
                kv_bytes=KV_BYTES,
                copy_link_bytes_per_s=copy_link_bytes_per_s,
                prefix_reuse=False,  # the same prompt again is to be computed again: a switch meets a new one
            ),
            scheduler=replace(self.config.scheduler, **(schedule or {})),
        )
        names = {name.lower(): name for name in self.names}
        runtime = wire(config, _Explicit(), self.store, list(self.imported), {}, names, source=source)
        await runtime.start()
        try:
            yield runtime
        finally:
            await runtime.close()

    def files_of(self, name: str) -> list[Path]:
        units = next(expert.manifest.units for expert in self.imported if expert.spec.name == name)
        return list(dict.fromkeys(self.store.path(unit) for unit in units))

    def _bytes_of(self, num_experts: float) -> int:
        return int(num_experts * self.expert_bytes) // ALIGNMENT * ALIGNMENT


class Answer(NamedTuple):
    """A greedy answer, and when its tokens came, in seconds from the question."""

    token_ids: tuple[int, ...]
    at_s: tuple[float, ...]
    switch: Switch

    @property
    def first_token_s(self) -> float:
        return self.switch.first_token_s

    @property
    def between_s(self) -> list[float]:
        return [after - before for before, after in itertools.pairwise(self.at_s)]


async def ask(runtime: Runtime, name: str, prompt: str, num_tokens: int = 1) -> Answer:
    """Ask one expert and time its tokens."""
    sampling = Sampling(max_tokens=num_tokens, temperature=0.0)
    messages = (Message("user", prompt),)
    asked = GenerateRequest(
        f"bench-{next(_numbers)}", messages, expert=name, sampling=sampling, passes_over=False, is_kept=False
    )
    started_s = time.perf_counter()
    token_ids: list[int] = []
    at_s: list[float] = []
    async for event in runtime.generate(asked):
        if isinstance(event, Delta):
            token_ids.extend(event.token_ids)
            at_s.append(time.perf_counter() - started_s)
        elif isinstance(event, Finished):
            return Answer(tuple(token_ids), tuple(at_s), event.switch)
    raise AssertionError("a generation ended without its last event")


class ThrottledDisk:
    """The store behind a disk of so many bytes per second, for all threads together."""

    def __init__(self, store: UnitStore, bytes_per_s: float) -> None:
        self._store, self._bytes_per_s = store, bytes_per_s
        self._free_s = 0.0

    def reads(self, unit: Unit, target: memoryview) -> Sequence[Callable[[], None]]:
        reads = self._store.reads(unit, target)
        return [partial(self._slowly, read, len(target) / len(reads)) for read in reads]

    def check(self, unit: Unit, target: memoryview) -> None:
        self._store.check(unit, target)

    def _slowly(self, read: Callable[[], None], num_bytes: float) -> None:
        self._free_s = max(self._free_s, time.monotonic()) + num_bytes / self._bytes_per_s
        due_s = self._free_s
        read()
        time.sleep(max(0.0, due_s - time.monotonic()))


class _Explicit:
    """A router that sends each prompt to the expert that it names."""

    def route(self, queries: Sequence[RouteQuery]) -> Sequence[Decision]:
        return [
            Decision(
                query.expert or "", None, None, "model", query.messages[-1].content, because="the benchmark names it"
            )
            for query in queries
        ]


async def unload(runtime: Runtime, names: Sequence[str], *, keeps_host: bool = False) -> None:
    """Free experts' device memory, and their host memory too unless it is kept."""
    for name in names:
        await asyncio.wrap_future(runtime.engine.operator.unload(name, keeps_host=keeps_host))


def backends_of(runtime: Runtime) -> dict[str, str]:
    """Return the backend of every expert of a runtime, by name."""
    return {name: served.loaded.model.backend for name, served in runtime.experts.served.items()}


def home_of(device: str) -> str:
    """Return where an expert runs without a copy link: the CPU, but for a GPU, which has none without."""
    return device if device == "cuda" else "cpu"
