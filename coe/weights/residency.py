"""One tier's books: which units are resident or on the way, what they cost, who may not lose them.

Pure: no bytes, no clock, no threads. A pool never counts more than its budget, units in flight included, and it only
ever names victims that nobody leases or pins. Eviction takes the least recently used expert first and that expert's
tail first: the leading units that stay behind hide the next load. A unit that several experts share is worth as much as
the most recently used of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from coe.weights.unit import Unit

__all__ = ["Pool"]


class _Use(NamedTuple):
    expert: str
    position: int  # position in the expert's execution order


@dataclass(slots=True)
class _Slot:
    size_bytes: int
    is_ready: bool = False


class Pool:
    """The residency table of one tier, in bytes.

    A unit is absent, on its way (`reserve`) or ready (`commit`). Leases are counted per unit whether it is here or
    not, so a unit that arrives after its lease was taken is protected from its first moment.
    """

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.used_bytes = 0
        self._slots: dict[str, _Slot] = {}
        self._leases: Counter[str] = Counter()
        self._uses: dict[str, list[_Use]] = {}
        self._units: dict[str, tuple[Unit, ...]] = {}
        self._sizes: dict[str, int] = {}
        self._last_used_s: dict[str, float] = {}
        self._pinned: set[str] = set()

    # -- experts

    def register(self, expert: str, units: Sequence[Unit]) -> None:
        """Make an expert known; none of its units is resident by that."""
        self._units[expert] = tuple(units)
        for index, unit in enumerate(units):
            self._uses.setdefault(unit.hash, []).append(_Use(expert, index))
            self._sizes[unit.hash] = unit.size_bytes

    def touch(self, expert: str, now_s: float) -> None:
        self._last_used_s[expert] = now_s

    def last_used_s(self, expert: str) -> float | None:
        return self._last_used_s.get(expert)

    def pin(self, expert: str) -> None:
        self._pinned.add(expert)

    def unpin(self, expert: str) -> None:
        self._pinned.discard(expert)

    def is_pinned(self, expert: str) -> bool:
        return expert in self._pinned

    # -- questions

    def is_ready(self, unit: Unit) -> bool:
        slot = self._slots.get(unit.hash)
        return slot is not None and slot.is_ready

    def is_absent(self, unit: Unit) -> bool:
        return unit.hash not in self._slots

    def num_leading(self, expert: str) -> int:
        """How many of the expert's units are ready before the first that is not."""
        units = self._units[expert]
        return next((at for at, unit in enumerate(units) if not self.is_ready(unit)), len(units))

    def resident_bytes(self, expert: str) -> int:
        """Bytes of the expert's units that are ready here."""
        return sum(unit.size_bytes for unit in _distinct(self._units[expert]) if self.is_ready(unit))

    def missing_bytes(self, expert: str) -> int:
        """Bytes of the expert's units that are not ready here yet."""
        return sum(unit.size_bytes for unit in _distinct(self._units[expert]) if not self.is_ready(unit))

    def shared_bytes(self, expert: str) -> int:
        """Bytes of the expert's units that another registered expert uses too."""
        return sum(
            unit.size_bytes
            for unit in _distinct(self._units[expert])
            if any(use.expert != expert for use in self._uses[unit.hash])
        )

    def num_leases(self, expert: str) -> int:
        return max((self._leases[unit.hash] for unit in self._units[expert]), default=0)

    def committed_bytes(self, giving_up: Iterable[str] = ()) -> dict[str, int]:
        """Hash and size of every unit that is leased or pinned, as if one lease of each `giving_up` were closed."""
        leases = self._leases.copy()
        for expert in giving_up:
            leases.subtract({unit.hash: 1 for unit in _distinct(self._units[expert])})
        held = {digest for digest, count in leases.items() if count > 0}
        pinned = {unit.hash for expert in self._pinned for unit in self._units[expert]}
        return {digest: self._sizes[digest] for digest in held | pinned}

    def can_lease(self, expert: str, giving_up: Iterable[str] = ()) -> bool:
        """Whether all of the expert's units fit beside everything that is leased or pinned."""
        held = self.committed_bytes(giving_up)
        held.update({unit.hash: unit.size_bytes for unit in self._units[expert]})
        return sum(held.values()) <= self.budget_bytes

    # -- leases

    def lease(self, units: Iterable[Unit]) -> None:
        self._leases.update({unit.hash for unit in units})

    def unlease(self, units: Iterable[Unit]) -> None:
        for digest in {unit.hash for unit in units}:
            assert self._leases[digest] > 0, f"unit {digest} was not leased"
            self._leases[digest] -= 1
            if not self._leases[digest]:
                del self._leases[digest]

    # -- bytes

    def reserve(self, unit: Unit) -> None:
        """Book the bytes of a unit that is about to arrive."""
        assert unit.hash not in self._slots, f"unit {unit.hash} is already here"
        assert self.used_bytes + unit.size_bytes <= self.budget_bytes, "reserve without room"
        self._slots[unit.hash] = _Slot(unit.size_bytes)
        self.used_bytes += unit.size_bytes

    def commit(self, unit: Unit) -> None:
        """The unit has arrived."""
        self._slots[unit.hash].is_ready = True

    def drop(self, unit_hash: str) -> None:
        """The unit is gone: evicted, or its load failed."""
        self.used_bytes -= self._slots.pop(unit_hash).size_bytes

    def victims(self, size_bytes: int) -> list[str] | None:
        """Name the units to evict so that `size_bytes` fit, cheapest loss first; None when that cannot be had now."""
        needed = self.used_bytes + size_bytes - self.budget_bytes
        if needed <= 0:
            return []
        chosen: list[str] = []
        for digest in self._evictable():
            chosen.append(digest)
            needed -= self._slots[digest].size_bytes
            if needed <= 0:
                return chosen
        return None

    def evictable_of(self, expert: str) -> list[str]:
        """What unloading the expert frees: its ready units that no lease, no pin and no other expert here holds."""
        own = {unit.hash for unit in self._units[expert]}
        return [
            digest
            for digest in own
            if digest in self._slots and self._is_evictable(digest) and not self._others_hold(digest, expert, own)
        ]

    def _others_hold(self, digest: str, expert: str, own: set[str]) -> bool:
        """Whether another user of the unit has anything here besides what it shares with this expert."""
        others = {use.expert for use in self._uses[digest]} - {expert}
        return any(unit.hash in self._slots and unit.hash not in own for other in others for unit in self._units[other])

    def _evictable(self) -> list[str]:
        return sorted((digest for digest in self._slots if self._is_evictable(digest)), key=self._worth)

    def _is_evictable(self, digest: str) -> bool:
        if not self._slots[digest].is_ready or self._leases[digest]:
            return False
        return not any(use.expert in self._pinned for use in self._uses[digest])

    def _worth(self, digest: str) -> tuple[float, int]:
        never = float("-inf")
        return max((self._last_used_s.get(use.expert, never), -use.position) for use in self._uses[digest])

    # -- proof

    def check_integrity(self) -> None:
        """Raise AssertionError if the books do not balance."""
        assert self.used_bytes == sum(slot.size_bytes for slot in self._slots.values())
        assert 0 <= self.used_bytes <= self.budget_bytes
        assert all(count > 0 for count in self._leases.values())
        assert set(self._slots) <= set(self._uses)


def _distinct(units: Iterable[Unit]) -> Iterable[Unit]:
    return {unit.hash: unit for unit in units}.values()
