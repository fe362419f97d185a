"""An operator's commands: load, unload, pin, unpin. Called from any thread, carried out on the engine thread.

A load holds a lease until all of the expert is on the device, so that nothing evicts it half-way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from coe.engine.events import chain, new_future
from coe.engine.loaded_expert import LoadedExpert
from coe.errors import CoeError, WeightsError
from coe.weights.cache import WeightCache
from coe.weights.lease import Lease

__all__ = ["OperatorCommands"]


class OperatorCommands:
    """Commands of one engine. `call` runs work on the engine thread, `release_idle` closes the leases of experts
    without work, `on_pinned` hears that an expert was pinned, `on_loaded` of every expert whose load has ended well."""

    def __init__(
        self,
        experts: Mapping[str, LoadedExpert],
        cache: WeightCache,
        call: Callable[[Callable[[], Any]], Future[Any]],
        release_idle: Callable[[], None],
        on_pinned: Callable[[], None],
        on_loaded: Callable[[str], None],
    ) -> None:
        self._experts, self._cache = experts, cache
        self._call, self._release_idle = call, release_idle
        self._on_pinned, self._on_loaded = on_pinned, on_loaded
        self._held: dict[str, tuple[Lease, Future[None]]] = {}

    # -- from any thread

    def load(self, expert: str) -> Future[None]:
        """Bring an expert to the device; the future is done when all of it is there, or has WeightsError."""
        future = new_future()
        chain(self._call(lambda: self._begin(expert, future)), future, only_errors=True)
        return future

    def unload(self, expert: str, *, keeps_host: bool = False) -> Future[Any]:
        """Free what only this expert needs; the future has the bytes freed."""
        return self._call(lambda: self._unload(expert, keeps_host))

    def pin(self, expert: str) -> Future[Any]:
        """Keep an expert where it is once loaded; the future fails with WeightsError if pins could not fit."""
        return self._call(lambda: self._pin(expert))

    def unpin(self, expert: str) -> Future[Any]:
        return self._call(lambda: self._cache.unpin(expert))

    def switch_to(self, expert: str) -> Future[Any]:
        """Do what a switch to a resident expert takes and nothing else; the future has the seconds (benchmarks)."""
        return self._call(lambda: self._time_switch(expert))

    # -- on the engine thread

    def settle(self) -> None:
        """End the loads that are complete."""
        for expert in [expert for expert, (lease, _) in self._held.items() if lease.is_ready]:
            lease, future = self._held[expert]
            lease.close()
            self._on_loaded(expert)
            del self._held[expert]
            future.set_result(None)

    def fail(self, expert: str, error: CoeError) -> None:
        """End the expert's load, if there is one, with an error."""
        if expert in self._held:
            lease, future = self._held[expert]
            lease.close()
            del self._held[expert]
            future.set_exception(error)

    def fail_all(self, error: CoeError) -> None:
        """End every load with an error; the leases stay open, for an engine that has ended."""
        for _, future in self._held.values():
            future.set_exception(error)
        self._held.clear()

    def _begin(self, expert: str, future: Future[None]) -> None:
        if expert in self._held:
            chain(self._held[expert][1], future)
        elif not self._cache.can_lease(expert):
            future.set_exception(
                WeightsError(expert, "no room for it beside what is pinned or running; unload or unpin another")
            )
        else:
            self._cache.touch(expert, time.monotonic())
            self._held[expert] = (self._cache.lease(expert), future)
            self.settle()

    def _pin(self, expert: str) -> None:
        self._cache.pin(expert)
        self._on_pinned()

    def _unload(self, expert: str, keeps_host: bool) -> int:
        self._release_idle()  # an unload right after an answer means that lease too
        return self._cache.unload(expert, keeps_host=keeps_host)

    def _time_switch(self, expert: str) -> float:
        started_s = time.perf_counter()
        bind = self._experts[expert].model.bind
        with self._cache.lease(expert) as lease:
            assert lease.is_ready, f"{expert} is not resident"
            for index in range(len(lease.units)):
                lease.payload(index, bind)
            return time.perf_counter() - started_s
