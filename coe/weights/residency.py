"""One tier's books: which units are resident or on the way, what they cost, who may not lose them.

Pure: no bytes, no clock, no threads. A pool never counts more than its budget, units in flight included, and it only
ever names victims that nobody leases, holds or pins. Eviction takes what is worth least per byte first and, of an
expert's units, the tail first: the leading units that stay behind hide the next load. Two policies. "value": a unit is
worth the seconds to bring it back times the chance that it is wanted, summed over the experts that use it. "lru", the
baseline: a unit is worth the last use of any of them.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from coe.weights.unit import Unit

__all__ = ["Claim", "Judge", "Pool"]

NEVER_S = float("-inf")


class Judge(Protocol):
    """Says how soon an expert will be wanted: `popularity.Popularity`, or one who knows the future."""

    def chance(self, expert: str) -> float: ...


class Claim(NamedTuple):
    """What a lease holds: these units, and room for some more that come and go while a step runs.

    An expert that fits holds all its units. A larger one holds its leading units and streams the rest through
    `window_bytes`, two units at a time: one computes while the next is on its way.
    """

    units: tuple[Unit, ...]
    window_bytes: int = 0


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
    not, so a unit that arrives after its lease was taken is protected from its first moment. With a `judge` the policy
    is "value", and `bring_back_s` says how many seconds a byte of a unit takes to come back; else "lru".
    """

    def __init__(
        self,
        budget_bytes: int,
        judge: Judge | None = None,
        bring_back_s: Callable[[str], float] = lambda _: 1.0,
    ) -> None:
        self.budget_bytes = budget_bytes
        self.used_bytes = 0
        self._judge, self._bring_back_s = judge, bring_back_s
        self._slots: dict[str, _Slot] = {}
        self._claims: dict[str, list[Claim]] = {}  # open leases per expert
        self._leases: Counter[str] = Counter()  # and per unit
        self._holds: Counter[str] = Counter()
        self._uses: dict[str, list[_Use]] = {}
        self._units: dict[str, tuple[Unit, ...]] = {}
        self._sizes: dict[str, int] = {}
        self._last_used_s: dict[str, float] = {}
        self._pinned: set[str] = set()
        self._streamable: set[str] = set()

    # -- experts

    def __iter__(self) -> Iterator[str]:
        """Hashes of the units that are here or on their way."""
        return iter(self._slots)

    def register(self, expert: str, units: Sequence[Unit], *, is_streamable: bool = False) -> None:
        """Make an expert known; none of its units is resident by that. A streamable one may exceed the budget."""
        self._units[expert] = tuple(units)
        if is_streamable:
            self._streamable.add(expert)
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

    def is_moving(self, unit: Unit) -> bool:
        slot = self._slots.get(unit.hash)
        return slot is not None and not slot.is_ready

    def is_larger(self, expert: str) -> bool:
        """Whether the expert can never be here as a whole."""
        return _size_of(self._units[expert]) > self.budget_bytes

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
        return sum(unit.size_bytes for unit in _distinct(self._units[expert]) if self.is_shared(unit))

    def is_shared(self, unit: Unit) -> bool:
        """Whether more than one registered expert uses the unit."""
        uses = self._uses[unit.hash]
        return any(use.expert != uses[0].expert for use in uses)

    # -- leases

    def leased_or_pinned(self, giving_up: Iterable[str] = ()) -> dict[str, int]:
        """Hash and size of every unit that is leased or pinned, as if one lease of each `giving_up` were closed."""
        leases = self._leases.copy()
        for claim in self._last_claims(giving_up):
            leases.subtract(_hashes(claim.units))
        held = {digest for digest, count in leases.items() if count > 0}
        pinned = {unit.hash for expert in self._pinned for unit in self._units[expert]}
        return {digest: self._sizes[digest] for digest in held | pinned}

    def promised_bytes(self, giving_up: Iterable[str] = ()) -> int:
        """Bytes that leases and pins may fill: what they hold, and the windows of those that stream."""
        windows = sum(claim.window_bytes for claims in self._claims.values() for claim in claims)
        windows -= sum(claim.window_bytes for claim in self._last_claims(giving_up))
        return sum(self.leased_or_pinned(giving_up).values()) + windows

    def claim(self, expert: str, giving_up: Iterable[str] = ()) -> Claim | None:
        """What a lease of the expert would hold beside all that is leased or pinned; None if it cannot be had now."""
        units = self._units[expert]
        free = self.budget_bytes - self.promised_bytes(giving_up)
        held = self.leased_or_pinned(giving_up)
        if not self.is_larger(expert):
            return Claim(units) if _size_of(unit for unit in units if unit.hash not in held) <= free else None
        if expert not in self._streamable:
            return None
        free -= _window_bytes(units)
        kept: list[Unit] = []
        for unit in units:
            free -= 0 if unit.hash in held or unit in kept else unit.size_bytes
            if free < 0:
                break
            kept.append(unit)
        return Claim(tuple(kept), _window_bytes(units)) if kept else None

    def can_lease(self, expert: str, giving_up: Iterable[str] = ()) -> bool:
        return self.claim(expert, giving_up) is not None

    def lease(self, expert: str) -> Claim:
        """Hold what `claim` says, which must not be None."""
        claim = self.claim(expert)
        assert claim is not None, f"lease of {expert} without room"
        self._claims.setdefault(expert, []).append(claim)
        self._leases.update(_hashes(claim.units))
        return claim

    def unlease(self, expert: str, claim: Claim) -> None:
        self._claims[expert].remove(claim)
        _take_off(self._leases, _hashes(claim.units))

    def hold(self, unit: Unit) -> None:
        """Keep a unit from being evicted without promising it room: a copy reads it, or it passes through a window."""
        self._holds[unit.hash] += 1

    def unhold(self, unit: Unit) -> None:
        _take_off(self._holds, {unit.hash})

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

    def victims(self, size_bytes: int, *, spared: Collection[str] = (), below: float | None = None) -> list[str] | None:
        """Name the units to evict so that `size_bytes` fit, cheapest loss first; None when that cannot be had now.

        Units of `spared` experts stay, and with `below` so does all that is worth as much or more.
        """
        needed = self.used_bytes + size_bytes - self.budget_bytes
        chosen: list[str] = []
        candidates = self._by_worth(spared) if needed > 0 else iter(())
        while needed > 0:
            worth, digest = next(candidates, (0.0, None))
            if digest is None or (below is not None and worth >= below):
                return None
            chosen.append(digest)
            needed -= self._slots[digest].size_bytes
        return chosen

    def enough(self, victims: Sequence[str], size_bytes: int) -> list[str]:
        """The first of these that make `size_bytes` fit."""
        needed = self.used_bytes + size_bytes - self.budget_bytes
        chosen: list[str] = []
        for digest in victims:
            if needed <= 0:
                break
            chosen.append(digest)
            needed -= self._slots[digest].size_bytes
        return chosen

    def losses(self, *, spared: Collection[str] = (), below: float | None = None) -> dict[str, float]:
        """What evicting each unit would lose, worth times bytes; only units that may go for one worth `below`."""
        return {
            digest: worth * self._slots[digest].size_bytes
            for worth, digest in self._by_worth(spared)
            if below is None or worth < below
        }

    def evictable_of(self, expert: str) -> list[str]:
        """What unloading the expert frees: its ready units that no lease, no pin and no other expert here holds."""
        own = {unit.hash for unit in self._units[expert]}
        return [
            digest
            for digest in own
            if digest in self._slots and self._is_evictable(digest) and not self._others_hold(digest, expert, own)
        ]

    def worth(self, unit: Unit) -> float:
        """What a byte of a unit that is wanted now is worth here; whatever is worth less may go for it."""
        return float("inf") if self._judge is None else self._worth(unit.hash, {})

    # -- small parts

    def _by_worth(self, spared: Collection[str]) -> Iterator[tuple[float, str]]:
        """Evictable units with their worth, the least first, an expert's tail before its head."""
        chances: dict[str, float] = {}
        heap = [
            (self._worth(digest, chances), -self._position(digest), digest)
            for digest in self._slots
            if self._is_evictable(digest) and not (spared and self._is_used_by(digest, spared))
        ]
        heapq.heapify(heap)
        while heap:
            worth, _, digest = heapq.heappop(heap)
            yield worth, digest

    def _worth(self, digest: str, chances: dict[str, float]) -> float:
        uses = self._uses[digest]
        if self._judge is None:
            return max(self._last_used_s.get(use.expert, NEVER_S) for use in uses)
        for use in uses:
            if use.expert not in chances:
                chances[use.expert] = self._judge.chance(use.expert)
        return self._bring_back_s(digest) * sum(chances[use.expert] for use in uses)

    def _position(self, digest: str) -> int:
        return min(use.position for use in self._uses[digest])

    def _is_used_by(self, digest: str, experts: Collection[str]) -> bool:
        return any(use.expert in experts for use in self._uses[digest])

    def _is_evictable(self, digest: str) -> bool:
        if not self._slots[digest].is_ready or self._leases[digest] or self._holds[digest]:
            return False
        return not (self._pinned and self._is_used_by(digest, self._pinned))

    def _others_hold(self, digest: str, expert: str, own: set[str]) -> bool:
        """Whether another user of the unit has anything here besides what it shares with this expert."""
        others = {use.expert for use in self._uses[digest]} - {expert}
        return any(unit.hash in self._slots and unit.hash not in own for other in others for unit in self._units[other])

    def _last_claims(self, experts: Iterable[str]) -> Iterator[Claim]:
        return (claims[-1] for expert in experts if (claims := self._claims.get(expert)))

    # -- proof

    def check_integrity(self) -> None:
        """Raise AssertionError if the books do not balance."""
        assert self.used_bytes == sum(slot.size_bytes for slot in self._slots.values())
        assert 0 <= self.used_bytes <= self.budget_bytes
        claims = [claim for claims in self._claims.values() for claim in claims]
        claimed = Counter(digest for claim in claims for digest in _hashes(claim.units))
        assert claimed == self._leases
        assert all(count > 0 for count in (*self._leases.values(), *self._holds.values()))
        assert set(self._slots) <= set(self._uses)
        assert self.promised_bytes() <= self.budget_bytes


def _distinct(units: Iterable[Unit]) -> Iterable[Unit]:
    return {unit.hash: unit for unit in units}.values()


def _size_of(units: Iterable[Unit]) -> int:
    return sum(unit.size_bytes for unit in _distinct(units))


def _hashes(units: Iterable[Unit]) -> set[str]:
    return {unit.hash for unit in units}


def _window_bytes(units: Sequence[Unit]) -> int:
    """Room for any two units that follow one another, the first after the last included; the first one is held."""
    rest = units[1:]
    return max(
        (left.size_bytes + right.size_bytes for left, right in zip(rest, (*rest[1:], *rest[:1]), strict=True)),
        default=0,
    )


def _take_off(counts: Counter[str], digests: Iterable[str]) -> None:
    for digest in digests:
        assert counts[digest] > 0, f"unit {digest} was not held"
        counts[digest] -= 1
        if not counts[digest]:
            del counts[digest]
