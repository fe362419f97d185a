"""The memory of one tier: its books and its frames, changed together so that they always agree.

`TierBooks` decide which units leave, the arena where frames lie; here a unit that fits by the books gets memory in one
piece. Knows nothing about other tiers, leases or how bytes move.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from coe.telemetry.events import EvictedWhy
from coe.weights.memory.frames import Frames
from coe.weights.residency.tier_books import TierBooks
from coe.weights.tier_log import TierLog
from coe.weights.unit import Unit

__all__ = ["Incoming", "TierMemory"]

log = logging.getLogger("coe.weights.tier")


class Incoming(NamedTuple):
    """A unit that is about to move to a tier, and what may leave for it.

    `wanted_bytes` count the unit and all that will follow it: the units that leave for those bytes may leave in any
    order. For a unit that no lease waits for, `spared` experts and units worth as much as itself keep their place, and
    no frame is moved.
    """

    unit: Unit
    wanted_bytes: int
    spared: tuple[str, ...] = ()
    is_leased: bool = True


class TierMemory:
    """The books of a tier and the frames that its units lie in; `log` is what has come and left."""

    def __init__(self, books: TierBooks, frames: Frames) -> None:
        self.books, self.frames, self.log = books, frames, TierLog(books.units)

    def reserve(self, incoming: Incoming, is_movable: Callable[[str], bool]) -> torch.Tensor | None:
        """Book a unit and return memory for it, evicting what the books name; None if it cannot be had now.

        Where the free bytes are scattered, more units leave, whichever lose least. Where all that is left is leased or
        pinned, frames are moved together; `is_movable` says of a unit hash whether nothing reads or writes its bytes.
        So a unit that fits by the books fits in one piece, at the latest when nothing is moving.
        """
        frame = self._make_room(incoming, is_movable)
        if frame is not None:
            self.books.residents.reserve(incoming.unit)
            self.log.reserved(incoming.unit)
        return frame

    def commit(self, unit: Unit) -> None:
        """Note that a unit has arrived."""
        self.books.residents.commit(unit)
        self.log.arrived(unit)

    def evict(self, unit_hashes: Sequence[str], why: EvictedWhy = "room") -> None:
        for unit_hash in unit_hashes:
            self.books.residents.drop(unit_hash)
            self.frames.drop(unit_hash)
            self.log.evicted(unit_hash, why)

    def unload(self, expert: str) -> int:
        """Evict what only this expert needs and nothing protects; returns the bytes freed."""
        unit_hashes = self.books.eviction.unloadable(expert)
        before = self.books.residents.used_bytes
        self.evict(unit_hashes, "unload")
        return before - self.books.residents.used_bytes

    def close(self) -> None:
        self.frames.close()

    def _make_room(self, incoming: Incoming, is_movable: Callable[[str], bool]) -> torch.Tensor | None:
        eviction, unit, spared = self.books.eviction, incoming.unit, incoming.spared
        below = None if incoming.is_leased else eviction.worth_of_wanted(unit)
        wanted_bytes = max(incoming.wanted_bytes if self.frames.has_locations else 0, unit.size_bytes)
        leaving = eviction.victims(wanted_bytes, spared=spared, below=below)
        if leaving is None:
            leaving = eviction.victims(unit.size_bytes, spared=spared, below=below)
        if leaving is None:
            return None
        followed = next((unit_hash for unit_hash in leaving if self.frames.prefers_to_follow(unit, unit_hash)), None)
        self.evict(eviction.enough(leaving, unit.size_bytes) if followed is None else [followed])
        frame = self.frames.put(unit)
        if frame is not None:
            return frame
        more = self.frames.in_the_way(unit.size_bytes, eviction.losses(spared=spared, below=below))
        if more is not None:
            self.evict(more)
        elif incoming.is_leased:
            moved = self.frames.compact(unit.size_bytes, is_movable)
            log.info("compact unit=%s bytes=%d moved_bytes=%s", unit.name, unit.size_bytes, moved)
        return self.frames.put(unit)

    def check_integrity(self) -> None:
        """Raise AssertionError if books and frames disagree."""
        self.books.check_integrity()
        self.frames.check_integrity()
        assert self.frames.arena.used_bytes == self.books.residents.used_bytes
        assert set(self.frames) == set(self.books.residents)
