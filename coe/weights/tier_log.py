"""What has come to a tier and left it: counts by expert, and which units have changed since somebody looked.

Owned by the engine thread, which alone adds; any thread may read the counts, and one reader may take the changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from coe.telemetry.events import EvictedWhy
from coe.weights.residency.unit_index import UnitIndex
from coe.weights.unit import Unit

__all__ = ["Moved", "TierLog"]


class Moved(NamedTuple):
    """So many units, so many bytes."""

    units: int = 0
    bytes: int = 0

    def plus(self, size_bytes: int) -> Moved:
        return Moved(self.units + 1, self.bytes + size_bytes)


class TierLog:
    """Counts since the start. A unit that experts share counts for the first of them. `room_bytes` left for others."""

    def __init__(self, units: UnitIndex) -> None:
        self._units = units
        self.room_bytes = 0
        self._changed: set[str] = set()
        self._arrived: dict[str, Moved] = {}
        self._evicted: dict[tuple[str, EvictedWhy], Moved] = {}

    def reserved(self, unit: Unit) -> None:
        self._changed.add(unit.hash)

    def arrived(self, unit: Unit) -> None:
        expert = self._first_of(unit.hash)
        self._arrived[expert] = self._arrived.get(expert, Moved()).plus(unit.size_bytes)
        self._changed.add(unit.hash)

    def evicted(self, unit_hash: str, why: EvictedWhy) -> None:
        key, size_bytes = (self._first_of(unit_hash), why), self._units[unit_hash].size_bytes
        self._evicted[key] = self._evicted.get(key, Moved()).plus(size_bytes)
        self.room_bytes += size_bytes if why == "room" else 0
        self._changed.add(unit_hash)

    # -- from any thread

    def arrivals(self) -> Mapping[str, Moved]:
        """Return what has come, by expert."""
        return self._arrived.copy()

    def evictions(self) -> Mapping[tuple[str, EvictedWhy], Moved]:
        """Return what has left, by expert and cause."""
        return self._evicted.copy()

    def take_changed(self) -> set[str]:
        """Return the experts whose bytes here have changed since the last call. One reader alone."""
        experts: set[str] = set()
        while self._changed:  # what changes meanwhile comes again: `pop` takes one at a time
            experts |= {use.expert for use in self._units.uses(self._changed.pop())}
        return experts

    def _first_of(self, unit_hash: str) -> str:
        return self._units.uses(unit_hash)[0].expert
