"""What the cache knows of its experts: where their bytes are, what they have cost, how long a load would take.

Reads the books that the engine thread changes, by look-ups and sums: an answer may be one event old and is never torn,
so any thread may ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from coe.statuses import UnitStatus
from coe.telemetry.events import Resident
from coe.types import SwitchKind, Tier
from coe.weights.lease import Lease, LoadCost
from coe.weights.open_leases import OpenLeases
from coe.weights.residency.link_speeds import LinkSpeeds
from coe.weights.residency.recency import Recency
from coe.weights.residency.tier_books import TierBooks
from coe.weights.residency.unit_index import UnitIndex, distinct
from coe.weights.tier import TierMemory
from coe.weights.tier_log import TierLog
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
    """Answers questions about the cache; `front` is the tier that the engine computes from."""

    def __init__(
        self,
        units: UnitIndex,
        host: TierMemory,
        front: TierMemory,
        leases: OpenLeases,
        loads: LoadHistory,
        speeds: LinkSpeeds,
        recency: Recency,
    ) -> None:
        self._units, self._host, self._front = units, host.books, front.books
        self._logs = {Tier.HOST: host.log} if front is host else {Tier.HOST: host.log, Tier.DEVICE: front.log}
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

    def switch_kind(self, lease: Lease) -> SwitchKind:
        """Return what a switch to a leased expert takes: what its lease has moved, or is still to move, for it.

        A lease that has run before has moved its bytes for an earlier switch, unless the expert streams.
        """
        if lease.has_run and lease.is_ready and not lease.is_streaming:
            return SwitchKind.DEVICE_HIT
        missing = [unit for unit in lease.claim.units if not self._front.residents.is_ready(unit)]
        if lease.cost.disk_bytes or not all(self._host.residents.is_ready(unit) for unit in missing):
            return SwitchKind.DISK_MISS
        return SwitchKind.HOST_HIT if missing else lease.cost.kind

    def num_loads(self, expert: str) -> int:
        """Return how many leases of the expert had to move bytes."""
        return self._loads.of(expert).num_loads

    # -- for who watches

    @property
    def has_one_memory(self) -> bool:
        """Whether the engine computes from the host bytes themselves."""
        return self._front is self._host

    def logs(self) -> Mapping[Tier, TierLog]:
        """Return what has come and left, by tier; one memory is the host's."""
        return self._logs

    def take_changed(self) -> set[str]:
        """Return the experts whose bytes have come, gone or begun to move since the last call. One reader alone."""
        return set().union(*(log.take_changed() for log in self._logs.values()))

    def resident(self, expert: str) -> Mapping[Tier, Resident]:
        """Return the expert's bytes that are ready in each tier, and those on their way there."""
        return {
            tier: Resident(books.resident_bytes(expert), books.moving_bytes(expert))
            for tier, books in self._tiers.items()
        }

    def sharers(self, expert: str) -> Mapping[tuple[str, ...], int]:
        """Return the bytes that the expert shares, by all who use them, itself left out."""
        shared: dict[tuple[str, ...], int] = {}
        for unit in distinct(self._units.of(expert)):
            others = tuple(sorted({use.expert for use in self._units.uses(unit.hash)} - {expert}))
            if others:
                shared[others] = shared.get(others, 0) + unit.size_bytes
        return shared

    @property
    def _tiers(self) -> Mapping[Tier, TierBooks]:
        return {Tier.HOST: self._host, Tier.DEVICE: self._front}

    def _tier_of(self, unit: Unit) -> Tier:
        if self._front.residents.is_ready(unit):
            return Tier.DEVICE
        return Tier.HOST if self._host.residents.is_ready(unit) else Tier.DISK
