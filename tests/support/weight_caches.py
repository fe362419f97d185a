"""A real weight cache over a real store, with real threads and copies, whose arrivals a test takes in one by one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue

from coe.telemetry.events import Happening
from coe.weights.cache import WeightCache
from coe.weights.lease import Lease
from coe.weights.memory.device import EmulatedDevice
from coe.weights.open_leases import ExpertFailure
from coe.weights.store.unit_store import UnitStore
from coe.weights.transfer import Arrived
from coe.weights.unit import ALIGNMENT, Manifest, Unit

__all__ = ["SIZE", "MakeCache", "RealCache", "Store", "names"]

SIZE = 8 * ALIGNMENT


class Store(UnitStore):
    """A real store that remembers the order in which reads began."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.started: list[str] = []

    def reads(self, unit: Unit, target: memoryview) -> Sequence[Callable[[], None]]:
        self.started.append(unit.name)
        return super().reads(unit, target)


class RealCache:
    """A cache over units of random bytes; `settle` hands arrivals back until a lease is ready or has failed."""

    def __init__(
        self, folder: Path, experts: dict[str, list[str]], *, host: int, device: int | None = None, streams: bool = True
    ) -> None:
        self.store = Store(folder)
        self.events: SimpleQueue[Arrived] = SimpleQueue()
        self.bytes: dict[str, bytes] = {}
        self.told: list[Happening] = []
        emulated = None if device is None else EmulatedDevice(device * SIZE)
        self.cache = WeightCache(
            self.store,
            host_bytes=host * SIZE,
            device=emulated,
            device_bytes=(device or 0) * SIZE,
            post=self.events.put,
            publish=self.told.append,
        )
        self.units = {name: tuple(self.unit(each) for each in names) for name, names in experts.items()}
        for name, units in self.units.items():
            self.cache.register(name, Manifest(name, name, "float32", {}, {}, "", units, {}), is_streamable=streams)

    def unit(self, name: str) -> Unit:
        self.bytes[name] = hashlib.shake_256(name.encode()).digest(SIZE)
        return Unit(name, self.store.put(memoryview(self.bytes[name])), SIZE, ())

    def path(self, expert: str, index: int) -> Path:
        return self.store.path(self.units[expert][index])

    def settle(self, lease: Lease) -> list[ExpertFailure]:
        failures: list[ExpertFailure] = []
        while not lease.is_ready and not failures:
            event = self.events.get(timeout=30)
            failures = self.cache.on_arrived(event)
            self.cache.check_integrity()
        return failures

    def drain(self) -> None:
        """Take in arrivals until nothing moves."""
        while self.cache._loader.is_busy:
            assert self.cache.on_arrived(self.events.get(timeout=30)) == []
            self.cache.check_integrity()

    def content(self, expert: str) -> list[bytes]:
        return [
            bytes(self.cache._front.frames.payload(expert, unit, lambda _, flat: flat).numpy())  # type: ignore[attr-defined]
            for unit in self.units[expert]
        ]

    def expected(self, expert: str) -> list[bytes]:
        return [self.bytes[unit.name] for unit in self.units[expert]]


MakeCache = Callable[..., RealCache]


def names(expert: str, count: int) -> list[str]:
    return [f"{expert}{index}" for index in range(count)]
