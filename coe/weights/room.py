"""What left the tiers for whose units: bytes and seconds by expert, kept until a lease of the expert takes them over.

Owned by the engine thread. Knows nothing about what leaves, and for what reason.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from coe.weights.lease import LoadCost
from coe.weights.tier import TierMemory

__all__ = ["RoomLedger"]


class RoomLedger:
    """Room in these tiers."""

    def __init__(self, *tiers: TierMemory | None) -> None:
        self._logs = [tier.log for tier in tiers if tier is not None]
        self._made: dict[str, LoadCost] = {}

    @contextmanager
    def made_for(self, expert: str) -> Iterator[None]:
        """Count what leaves within the block as room for this expert, and its seconds if something does."""
        began_s, before_bytes = time.monotonic(), self._num_bytes()
        yield
        num_bytes = self._num_bytes() - before_bytes
        if num_bytes:
            made = self._made.setdefault(expert, LoadCost())
            made.evicted_bytes += num_bytes
            made.evict_s += time.monotonic() - began_s

    def charge(self, expert: str, cost: LoadCost) -> None:
        """Add to a lease's cost the room that was made for its expert since the last call."""
        if (made := self._made.pop(expert, None)) is not None:
            cost.evicted_bytes += made.evicted_bytes
            cost.evict_s += made.evict_s

    def _num_bytes(self) -> int:
        return sum(log.room_bytes for log in self._logs)
