"""Which units leave a tier so that others fit, and in what order.

An `Eviction` says what units are worth; this module takes the least valuable first and, of an expert's units, the tail
first: the leading units that stay behind hide the next load. It never names a unit that a lease, a pin or a hold
protects, or that is still moving. It names units and evicts nothing itself.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Sequence

from coe.weights.residency.claims import Claims
from coe.weights.residency.eviction import Eviction
from coe.weights.residency.resident_units import ResidentUnits
from coe.weights.residency.unit_index import UnitIndex
from coe.weights.unit import Unit

__all__ = ["EvictionOrder"]


class EvictionOrder:
    """Names, by hash, the units to evict from one tier.

    `spared` experts lose nothing. With `below`, only units that are worth less than that are named.
    """

    def __init__(self, units: UnitIndex, residents: ResidentUnits, claims: Claims, eviction: Eviction) -> None:
        self._units, self._residents, self._claims, self._eviction = units, residents, claims, eviction

    def victims(self, size_bytes: int, *, spared: Collection[str] = (), below: float | None = None) -> list[str] | None:
        """Return the units to evict so that `size_bytes` more fit, the first to leave first; None if they cannot."""
        needed = self._residents.excess_bytes(size_bytes)
        chosen: list[str] = []
        candidates = self._by_worth(spared) if needed > 0 else iter(())
        while needed > 0:
            worth, unit_hash = next(candidates, (0.0, None))
            if unit_hash is None or (below is not None and worth >= below):
                return None
            chosen.append(unit_hash)
            needed -= self._residents.size_bytes(unit_hash)
        return chosen

    def enough(self, victims: Sequence[str], size_bytes: int) -> list[str]:
        """Return as many of the first victims as make `size_bytes` more fit."""
        needed = self._residents.excess_bytes(size_bytes)
        chosen: list[str] = []
        for unit_hash in victims:
            if needed <= 0:
                break
            chosen.append(unit_hash)
            needed -= self._residents.size_bytes(unit_hash)
        return chosen

    def losses(self, *, spared: Collection[str] = (), below: float | None = None) -> dict[str, float]:
        """Return what evicting each unit would lose: its worth times its bytes."""
        return {
            unit_hash: worth * self._residents.size_bytes(unit_hash)
            for worth, unit_hash in self._by_worth(spared)
            if below is None or worth < below
        }

    def worth_of_wanted(self, unit: Unit) -> float:
        """Return what a byte of a unit that should come is worth; whatever is worth less may leave for it."""
        return self._eviction.worth_of_wanted(unit.hash)

    def unloadable(self, expert: str) -> list[str]:
        """Return the expert's evictable units, but for those that another expert with units here uses too."""
        own = {unit.hash for unit in self._units.of(expert)}
        return [
            unit_hash
            for unit_hash in own
            if self._is_evictable(unit_hash) and not self._others_are_here(unit_hash, expert, own)
        ]

    def _by_worth(self, spared: Collection[str]) -> Iterator[tuple[float, str]]:
        """Evictable units with their worth, the least first, an expert's tail before its head."""
        evictable = [
            unit_hash
            for unit_hash in self._residents
            if self._is_evictable(unit_hash) and not (spared and self._units.is_used_by(unit_hash, spared))
        ]
        worths = self._eviction.worths(evictable)
        heap = [(worths[unit_hash], -self._units.position(unit_hash), unit_hash) for unit_hash in evictable]
        heapq.heapify(heap)
        while heap:
            worth, _, unit_hash = heapq.heappop(heap)
            yield worth, unit_hash

    def _is_evictable(self, unit_hash: str) -> bool:
        return self._residents.is_ready(self._units[unit_hash]) and not self._claims.protects(unit_hash)

    def _others_are_here(self, unit_hash: str, expert: str, own: set[str]) -> bool:
        """Whether another user of the unit has anything here besides what it shares with this expert."""
        others = {use.expert for use in self._units.uses(unit_hash)} - {expert}
        return any(
            unit.hash in self._residents and unit.hash not in own for other in others for unit in self._units.of(other)
        )
