"""Which units may not leave one tier: leased, pinned and held ones; and whether a further lease fits beside them.

Leases and pins promise room: their bytes together never exceed the budget. A hold keeps a unit without promising it
room, while a copy reads it or a step streams through it. Units are counted whether they are here or not, so that one
that arrives after its lease was taken is protected from its first moment. Knows nothing about what a unit is worth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from coe.weights.residency.unit_index import UnitIndex, total_bytes
from coe.weights.unit import Unit

__all__ = ["Claim", "Claims"]


class Claim(NamedTuple):
    """What a lease keeps in the tier: these units, and `window_bytes` for others that come and go during a step.

    An expert that fits claims all its units. A larger one claims its leading units and streams the rest through the
    window, two units at a time: one computes while the next arrives.
    """

    units: tuple[Unit, ...]
    window_bytes: int = 0


class Claims:
    """Leases, pins and holds of one tier with a budget in bytes."""

    def __init__(self, budget_bytes: int, units: UnitIndex) -> None:
        self.budget_bytes = budget_bytes
        self._units = units
        self._claims: dict[str, list[Claim]] = {}  # open leases per expert
        self._leases: Counter[str] = Counter()  # open leases per unit
        self._holds: Counter[str] = Counter()
        self._pinned: set[str] = set()  # experts

    # -- leases

    def is_larger(self, expert: str) -> bool:
        """Whether the expert can never be in this tier as a whole."""
        return total_bytes(self._units.of(expert)) > self.budget_bytes

    def can_lease(self, expert: str, giving_up: Collection[str] = ()) -> bool:
        """Whether a lease fits beside all leases and pins, but for one lease of each expert in `giving_up`."""
        return self.claim(expert, giving_up) is not None

    def claim(self, expert: str, giving_up: Collection[str] = ()) -> Claim | None:
        """Return what a lease of the expert would claim; None if it does not fit (see `can_lease`)."""
        free = self.budget_bytes - self.promised_bytes(giving_up)
        return self._claim_beside(expert, self.leased_or_pinned(giving_up), free)

    def pins_against(self, expert: str) -> tuple[str, ...]:
        """Return the pinned experts beside which a lease does not fit even if no other is open; empty if it fits."""
        if not self._pinned:
            return ()
        kept = self._pinned_units()
        free = self.budget_bytes - sum(self._units[unit_hash].size_bytes for unit_hash in kept)
        fits = self._claim_beside(expert, kept, free) is not None
        return () if fits else tuple(sorted(self._pinned - {expert}))

    def _claim_beside(self, expert: str, kept: frozenset[str], free: int) -> Claim | None:
        """Return what a lease would claim in so many free bytes; units that are `kept` cost nothing."""
        units = self._units.of(expert)
        if not self.is_larger(expert):
            return Claim(units) if total_bytes(unit for unit in units if unit.hash not in kept) <= free else None
        if not self._units.is_streamable(expert):
            return None
        window_bytes = _window_bytes(units)
        leading = _leading(units, free - window_bytes, kept)
        return Claim(leading, window_bytes) if leading else None

    def lease(self, expert: str) -> Claim:
        """Take a lease, for which there must be room."""
        claim = self.claim(expert)
        assert claim is not None, f"lease of {expert} without room"
        self._claims.setdefault(expert, []).append(claim)
        self._leases.update(_hashes(claim.units))
        return claim

    def unlease(self, expert: str, claim: Claim) -> None:
        """Give a lease back."""
        self._claims[expert].remove(claim)
        _take_off(self._leases, _hashes(claim.units))

    # -- pins and holds

    def pin(self, expert: str) -> None:
        """Keep the expert's units; there must be room, as for a lease."""
        self._pinned.add(expert)

    def unpin(self, expert: str) -> None:
        self._pinned.discard(expert)

    def is_pinned(self, expert: str) -> bool:
        return expert in self._pinned

    def hold(self, unit: Unit) -> None:
        """Keep the unit until `unhold`, without promising it room; holds are counted."""
        self._holds[unit.hash] += 1

    def unhold(self, unit: Unit) -> None:
        _take_off(self._holds, {unit.hash})

    # -- what they keep

    def protects(self, unit_hash: str) -> bool:
        """Whether a lease, a hold or a pin keeps the unit from being evicted."""
        if self._leases[unit_hash] or self._holds[unit_hash]:
            return True
        return bool(self._pinned) and self._units.is_used_by(unit_hash, self._pinned)

    def leased_or_pinned(self, giving_up: Collection[str] = ()) -> frozenset[str]:
        """Return the hashes of all leased or pinned units, as if one lease of each `giving_up` were closed."""
        leases = self._leases.copy()
        for claim in self._last_claims(giving_up):
            leases.subtract(_hashes(claim.units))
        return frozenset(unit_hash for unit_hash, count in leases.items() if count > 0) | self._pinned_units()

    def _pinned_units(self) -> frozenset[str]:
        return frozenset(unit.hash for expert in self._pinned for unit in self._units.of(expert))

    def promised_bytes(self, giving_up: Collection[str] = ()) -> int:
        """Return the bytes that leases and pins may fill: their units, and the windows of streaming leases."""
        windows = sum(claim.window_bytes for claims in self._claims.values() for claim in claims)
        windows -= sum(claim.window_bytes for claim in self._last_claims(giving_up))
        return windows + sum(self._units[unit_hash].size_bytes for unit_hash in self.leased_or_pinned(giving_up))

    def _last_claims(self, experts: Collection[str]) -> Iterator[Claim]:
        return (claims[-1] for expert in experts if (claims := self._claims.get(expert)))

    def check_integrity(self) -> None:
        """Raise AssertionError if counts and claims disagree, or more is promised than the budget."""
        claims = [claim for claims in self._claims.values() for claim in claims]
        assert self._leases == Counter(unit_hash for claim in claims for unit_hash in _hashes(claim.units))
        assert all(count > 0 for count in (*self._leases.values(), *self._holds.values()))
        assert self.promised_bytes() <= self.budget_bytes


def _leading(units: Sequence[Unit], free_bytes: int, kept: frozenset[str]) -> tuple[Unit, ...]:
    """Return the leading units that fit into the free bytes; those that others keep cost nothing."""
    paid = set(kept)
    leading: list[Unit] = []
    for unit in units:
        free_bytes -= 0 if unit.hash in paid else unit.size_bytes
        if free_bytes < 0:
            break
        paid.add(unit.hash)
        leading.append(unit)
    return tuple(leading)


def _window_bytes(units: Sequence[Unit]) -> int:
    """Return room for any two neighbours among the units after the first; the last one's neighbour is the second."""
    rest = units[1:]
    return max(
        (left.size_bytes + right.size_bytes for left, right in zip(rest, (*rest[1:], *rest[:1]), strict=True)),
        default=0,
    )


def _hashes(units: Iterable[Unit]) -> set[str]:
    return {unit.hash for unit in units}


def _take_off(counts: Counter[str], unit_hashes: Iterable[str]) -> None:
    for unit_hash in unit_hashes:
        assert counts[unit_hash] > 0, f"unit {unit_hash} was not counted"
        counts[unit_hash] -= 1
        if not counts[unit_hash]:
            del counts[unit_hash]
