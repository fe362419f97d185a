"""What sharing units saves: bytes moved and bytes resident when experts that share a base are loaded, with and without.

Without: the same experts, every unit under a name of its own, so that nothing is one unit any more. The bytes are read
from the same files. Counts bytes; knows nothing about time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from coe.assembly.import_experts import Imported
from coe.bench.stage import Stage
from coe.types import Tier
from coe.weights.store.unit_store import UnitStore
from coe.weights.transfer import UnitSource
from coe.weights.unit import Unit

__all__ = ["Apart", "measure_sharing"]


class Apart:
    """A store in which no two experts share a unit: the same bytes under names of their own."""

    def __init__(self, store: UnitStore, imported: Sequence[Imported]) -> None:
        self._store = store
        self._own: dict[str, Unit] = {}  # by the name that it has here
        self.imported = [self._apart(expert) for expert in imported]

    def reads(self, unit: Unit, target: memoryview) -> Sequence[Callable[[], None]]:
        return self._store.reads(self._own[unit.hash], target)

    def check(self, unit: Unit, target: memoryview) -> None:
        self._store.check(self._own[unit.hash], target)

    def _apart(self, expert: Imported) -> Imported:
        units = []
        for unit in expert.manifest.units:
            units.append(replace(unit, hash=f"{expert.spec.name}/{unit.hash}"))
            self._own[units[-1].hash] = unit
        return replace(expert, manifest=replace(expert.manifest, units=tuple(units)))


@dataclass(frozen=True, slots=True)
class _Counted:
    """Bytes that went over each wire, and bytes that are there in the end."""

    read_bytes: int
    copied_bytes: int
    host_bytes: int
    device_bytes: int


async def measure_sharing(stage: Stage, device: str, what: str) -> dict[str, Any]:
    """One row for the JSON: all experts of the stage loaded, one after another, into memory that holds them all."""
    apart = Apart(stage.store, stage.imported)
    shared = await _count(stage, device)
    without = await _count(replace(stage, imported=apart.imported), device, apart)
    return {
        "what": what,
        "num_experts": len(stage.imported),
        "expert_bytes": stage.expert_bytes,
        "shared_share": round(stage.shared_share, 3),
        "with_sharing": {name: getattr(shared, name) for name in _Counted.__slots__},
        "without_sharing": {name: getattr(without, name) for name in _Counted.__slots__},
    }


async def _count(stage: Stage, device: str, source: UnitSource | None = None) -> _Counted:
    fits = stage.distinct_bytes / stage.expert_bytes + 0.01  # a page more than all of them
    async with stage.runtime(device, fits=fits, host_fits=fits, source=source) as runtime:
        for name in stage.names:
            await runtime.operator.load(name)
        moved = runtime.metrics.snapshot().loaded_bytes
        used = runtime.engine.status.gauges().used_bytes
    return _Counted(moved.get(Tier.HOST, 0), moved.get(Tier.DEVICE, 0), used[Tier.HOST], used[Tier.DEVICE])
