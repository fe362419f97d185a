"""What sharing units saves: bytes moved and bytes resident when experts that share a base are loaded, with and without.

Without: the same experts, every unit under a name of its own, so that nothing is one unit any more. The bytes are read
from the same files. Counts bytes; knows nothing about time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from coe.assembly.import_experts import Imported
from coe.bench.switch.testbed import Testbed, backends_of
from coe.types import Tier
from coe.weights.store.unit_store import UnitStore
from coe.weights.transfer import UnitSource
from coe.weights.unit import Unit

__all__ = ["measure_sharing"]


class UnsharedStore:
    """A store in which no two experts share a unit: the same bytes under names of their own."""

    def __init__(self, store: UnitStore, imported: Sequence[Imported]) -> None:
        self._store = store
        self._own: dict[str, Unit] = {}  # by the name that it has here
        self.imported = [self._unshared(expert) for expert in imported]

    def reads(self, unit: Unit, target: memoryview) -> Sequence[Callable[[], None]]:
        return self._store.reads(self._own[unit.hash], target)

    def check(self, unit: Unit, target: memoryview) -> None:
        self._store.check(self._own[unit.hash], target)

    def _unshared(self, expert: Imported) -> Imported:
        units = []
        for unit in expert.manifest.units:
            units.append(replace(unit, hash=f"{expert.spec.name}/{unit.hash}"))
            self._own[units[-1].hash] = unit
        return replace(expert, manifest=replace(expert.manifest, units=tuple(units)))


@dataclass(frozen=True, slots=True)
class Moved:
    """Bytes read from disk and copied to the device, and bytes that are there in the end."""

    read_bytes: int
    copied_bytes: int
    host_bytes: int
    device_bytes: int


class _Counted(NamedTuple):
    moved: Moved
    backends: dict[str, str]


async def measure_sharing(testbed: Testbed, device: str, what: str) -> dict[str, Any]:
    """One row for the JSON: all experts of the testbed loaded, one after another, into memory that holds them all."""
    unshared = UnsharedStore(testbed.store, testbed.imported)
    with_sharing = await _count(testbed, device)
    without = await _count(replace(testbed, imported=unshared.imported), device, unshared)
    return {
        "what": what,
        "num_experts": len(testbed.imported),
        "backends": with_sharing.backends,
        "expert_bytes": testbed.expert_bytes,
        "shared_share": round(testbed.shared_share, 3),
        "with_sharing": asdict(with_sharing.moved),
        "without_sharing": asdict(without.moved),
    }


async def _count(testbed: Testbed, device: str, source: UnitSource | None = None) -> _Counted:
    fits = testbed.fits_all
    async with testbed.runtime(device, fits=fits, host_fits=fits, source=source) as runtime:
        for name in testbed.names:
            await runtime.operator.load(name)
        loaded = runtime.metrics.snapshot().loaded_bytes
        used = runtime.engine.status.gauges().used_bytes
        backends = backends_of(runtime)
    moved = Moved(loaded.get(Tier.HOST, 0), loaded.get(Tier.DEVICE, 0), used[Tier.HOST], used[Tier.DEVICE])
    return _Counted(moved, backends)
