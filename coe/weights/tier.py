"""One tier: its books and its bytes together, and how room is made so that both agree.

What may go is the residency table's decision, where frames lie the arena's; this is where a unit that fits by the books
gets memory in one piece. Knows nothing about other tiers, leases or how bytes move.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from coe.weights.memory.frames import Frames
from coe.weights.residency import Pool
from coe.weights.unit import Unit

__all__ = ["Incoming", "TierMemory"]

log = logging.getLogger("coe.weights.tier")


class Incoming(NamedTuple):
    """A unit that is about to arrive, and for whom.

    `wanted_bytes` are what comes with it sooner or later: what goes for them may go in any order. One that no lease
    waits for takes nothing from `spared` experts and nothing that is worth as much as itself, and moves nothing.
    """

    unit: Unit
    wanted_bytes: int
    spared: tuple[str, ...] = ()
    is_leased: bool = True


class TierMemory:
    """The residency table of a tier and the frames that its units lie in; one is never changed without the other."""

    def __init__(self, pool: Pool, frames: Frames) -> None:
        self.pool, self.frames = pool, frames

    def reserve(self, incoming: Incoming, is_movable: Callable[[str], bool]) -> torch.Tensor | None:
        """Book a unit and return memory for it, evicting what the policy names; None if that cannot be had now.

        Where the free bytes are scattered more goes, whatever loses least; where all that is left is leased or pinned,
        frames move together. So a unit that fits by the books fits in one piece, at the latest when nothing is moving.
        """
        frame = self._make_room(incoming, is_movable)
        if frame is not None:
            self.pool.reserve(incoming.unit)
        return frame

    def evict(self, digests: Sequence[str]) -> None:
        for digest in digests:
            self.pool.drop(digest)
            self.frames.drop(digest)

    def _make_room(self, incoming: Incoming, is_movable: Callable[[str], bool]) -> torch.Tensor | None:
        unit, spared = incoming.unit, incoming.spared
        below = None if incoming.is_leased else self.pool.worth(unit)
        wanted_bytes = max(incoming.wanted_bytes if self.frames.has_locations else 0, unit.size_bytes)
        going = self.pool.victims(wanted_bytes, spared=spared, below=below)
        if going is None:
            going = self.pool.victims(unit.size_bytes, spared=spared, below=below)
        if going is None:
            return None
        followed = next((digest for digest in going if self.frames.prefers_to_follow(unit, digest)), None)
        self.evict(self.pool.enough(going, unit.size_bytes) if followed is None else [followed])
        frame = self.frames.put(unit)
        if frame is not None:
            return frame
        more = self.frames.in_the_way(unit.size_bytes, self.pool.losses(spared=spared, below=below))
        if more is not None:
            self.evict(more)
        elif incoming.is_leased:
            moved = self.frames.compact(unit.size_bytes, is_movable)
            log.info("compact unit=%s bytes=%d moved_bytes=%s", unit.name, unit.size_bytes, moved)
        return self.frames.put(unit)

    def check_integrity(self) -> None:
        """Raise AssertionError if books and bytes disagree."""
        self.pool.check_integrity()
        self.frames.check_integrity()
        assert self.frames.arena.used_bytes == self.pool.used_bytes
        assert set(self.frames) == set(self.pool)
