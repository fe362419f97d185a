"""What the cache knows of its experts: where their bytes are, what they have cost, how long a load would take.

Reads the books that the engine thread changes, by look-ups and sums: an answer may be one event old and is never torn,
so any thread may ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from coe.statuses import UnitStatus
from coe.types import Tier
from coe.weights.lease import LoadCost
from coe.weights.open_leases import OpenLeases
from coe.weights.residency.link_speeds import LinkSpeeds
from coe.weights.residency.recency import Recency
from coe.weights.residency.tier_books import TierBooks
from coe.weights.residency.unit_index import UnitIndex
from coe.weights.unit import Unit

__all__ = ["CacheReport", "ExpertResidency", "LoadHistory"]


class ExpertResidency(NamedTuple):
    """Where an expert's bytes are and what it has cost so far. `is_streaming`: it never fits on the device."""

    tier: Tier
    size_bytes: int
    shared_bytes: int
    host_bytes: int
    device_bytes: int
    is_pinned: bool
    is_streaming: bool
    num_leases: int
    num_loads: int
    loaded_bytes: int
    load_s: float


@dataclass(slots=True)
class _Loads:
    num_loads: int = 0
    loaded_bytes: int = 0
    load_s: float = 0.0


class LoadHistory:
    """What the leases of each expert have cost since start."""

    def __init__(self) -> None:
        self._experts: dict[str, _Loads] = {}

    def add(self, expert: str, cost: LoadCost) -> None:
        if cost.loaded_bytes:
            loads = self._experts.setdefault(expert, _Loads())
            loads.num_loads += 1
            loads.loaded_bytes += cost.loaded_bytes
            loads.load_s += cost.load_s

    def of(self, expert: str) -> _Loads:
        return self._experts.get(expert, _Loads())


class CacheReport:
    """Answers questions about the cache; `front` are the books of the tier that the engine computes from."""

    def __init__(
        self,
        units: UnitIndex,
        host: TierBooks,
        front: TierBooks,
        leases: OpenLeases,
        loads: LoadHistory,
        speeds: LinkSpeeds,
        recency: Recency,
    ) -> None:
        self._units, self._host, self._front = units, host, front
        self._leases, self._loads, self._speeds, self._recency = leases, loads, speeds, recency

    def residency(self, expert: str) -> ExpertResidency:
        host_bytes = self._host.resident_bytes(expert)
        device_bytes = self._front.resident_bytes(expert)
        missing_bytes = self._front.missing_bytes(expert)
        size_bytes = device_bytes + missing_bytes
        loads = self._loads.of(expert)
        return ExpertResidency(
            tier=Tier.DEVICE if not missing_bytes else Tier.HOST if host_bytes == size_bytes else Tier.DISK,
            size_bytes=size_bytes,
            shared_bytes=self._units.shared_bytes(expert),
            host_bytes=host_bytes,
            device_bytes=device_bytes,
            is_pinned=self._front.claims.is_pinned(expert),
            is_streaming=self._front.claims.is_larger(expert),
            num_leases=self._leases.num_open(expert),
            num_loads=loads.num_loads,
            loaded_bytes=loads.loaded_bytes,
            load_s=loads.load_s,
        )

    def unit_statuses(self, expert: str) -> tuple[UnitStatus, ...]:
        """Return where each unit of an expert is, in execution order."""
        return tuple(
            UnitStatus(unit.name, self._tier_of(unit), unit.size_bytes, self._units.is_shared(unit))
            for unit in self._units.of(expert)
        )

    def missing_bytes(self, expert: str) -> int:
        """Return the bytes that a lease of the expert would have to move to the tier that it runs in."""
        return self._front.missing_bytes(expert)

    def num_leading(self, expert: str) -> int:
        """Return how many of the expert's units a step could run at once."""
        return self._front.num_leading(expert)

    def load_s(self, expert: str) -> float:
        """Return the seconds after which a lease of the expert would be ready, at the speeds measured so far."""
        host_bytes, front_bytes = self._host.missing_bytes(expert), self._front.missing_bytes(expert)
        has_copy_link = self._front is not self._host
        return self._speeds.load_s(min(host_bytes, front_bytes), front_bytes if has_copy_link else 0)

    def last_used_s(self, expert: str) -> float | None:
        """Return when the expert was last used, in monotonic seconds; None if never."""
        return self._recency.last_used_s(expert)

    def used_bytes(self) -> Mapping[Tier, int]:
        return {tier: books.residents.used_bytes for tier, books in self._tiers.items()}

    def budget_bytes(self) -> Mapping[Tier, int]:
        return {tier: books.residents.budget_bytes for tier, books in self._tiers.items()}

    @property
    def _tiers(self) -> Mapping[Tier, TierBooks]:
        return {Tier.HOST: self._host, Tier.DEVICE: self._front}

    def _tier_of(self, unit: Unit) -> Tier:
        if self._front.residents.is_ready(unit):
            return Tier.DEVICE
        return Tier.HOST if self._host.residents.is_ready(unit) else Tier.DISK
