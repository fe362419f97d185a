"""Loads the experts that will be leased next, when no lease needs the links and at no cost to what is worth more.

Owned by the engine thread. Decides which units come and which experts are spared for them; the loader moves them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from coe.weights.loader import Loader
from coe.weights.residency.tier_books import TierBooks
from coe.weights.residency.unit_index import UnitIndex
from coe.weights.room import RoomLedger
from coe.weights.tier import Incoming
from coe.weights.unit import Unit

__all__ = ["Prefetcher"]

MAX_PREFETCHES = 2  # transfers under way: so few that a lease which comes now waits for little


class Prefetcher:
    """`host` and `front` are the books of the host tier and of the tier that the engine computes from."""

    def __init__(self, units: UnitIndex, host: TierBooks, front: TierBooks, loader: Loader, room: RoomLedger) -> None:
        self._units, self._host, self._front, self._loader = units, host, front, loader
        self._room = room
        self._expected: tuple[str, ...] = ()  # the next one first

    @property
    def expected(self) -> Sequence[str]:
        """Experts that will be leased, the next one first."""
        return self._expected

    def expect(self, experts: Sequence[str]) -> None:
        """Replace the experts that are expected; what moves for others arrives, and nothing more begins for them."""
        self._expected = tuple(experts)

    def give_up(self, unit: Unit) -> None:
        """Expect no expert that uses a unit whose load has failed: it would be tried again for ever."""
        self._expected = tuple(expert for expert in self._expected if not self._units.is_used_by(unit.hash, (expert,)))

    def load(self) -> None:
        """Start what the expected experts lack, in their order, until one of them has to wait."""
        for rank, expert in enumerate(self._expected):
            with self._room.made_for(expert):
                has_all = self._load(expert, self._expected[: rank + 1])
            if not has_all:
                break

    def _load(self, expert: str, spared: tuple[str, ...]) -> bool:
        """Take an expert's units closer; False if one has to wait for room or enough is moving."""
        if self._front.claims.is_larger(expert):
            return True
        incoming = partial(self._incoming, expert, spared)
        return all(
            self._loader.num_moving < MAX_PREFETCHES and self._loader.advance(unit, incoming)
            for unit in self._in_order(expert)
        )

    def _in_order(self, expert: str) -> Sequence[Unit]:
        """The expert's units in the order in which a lease would load them: see `host_rows.py`."""
        first, *rest = self._units.of(expert)
        has_copy_link = self._front is not self._host
        if has_copy_link and self._units.is_streamable(expert) and self._host.residents.is_ready(first):
            return (*rest, first)
        return (first, *rest)

    def _incoming(self, expert: str, spared: tuple[str, ...], unit: Unit, books: TierBooks) -> Incoming:
        return Incoming(unit, books.missing_bytes(expert), spared, is_leased=False)
