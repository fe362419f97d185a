"""Frames cut from one piece of memory: page-aligned, of any size, moved together when the free bytes are scattered.

A frame's address is fixed until the frame is freed or moved. Memory that has been free for long is returned to the
system. Knows nothing about units or budgets: the tier's books decide what leaves, `frames.py` knows which frame has
which unit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import torch

from coe.weights.memory.allocation import Memory
from coe.weights.memory.extents import Extents, Move
from coe.weights.unit import ALIGNMENT

__all__ = ["KEPT_S", "Arena"]

KEPT_S = 60.0  # freed memory is kept this long for the next load: new pages cost as much as the copy into them
SCRATCH_BYTES = 4 << 20  # a frame that overlaps with its new place moves through scratch memory of this size


class Arena:
    """Allocates and frees frames of `memory`. Owned by one thread."""

    def __init__(self, memory: Memory, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._memory, self._clock = memory, clock
        self._extents = Extents(memory.bytes.numel())
        self._scratch = torch.empty(SCRATCH_BYTES, dtype=torch.uint8, device=memory.bytes.device)
        self._freed_s: dict[tuple[int, int], float] = {}  # (start, end) -> when it was freed, the oldest first

    @property
    def address(self) -> int:
        return self._memory.bytes.data_ptr()

    @property
    def used_bytes(self) -> int:
        return self._extents.used_bytes

    def allocate(self, size_bytes: int, preferred: Iterable[int] = ()) -> torch.Tensor | None:
        """Return a frame with undefined contents; None if no free piece is long enough.

        It lies at the first of the `preferred` offsets where the bytes are free, else where it fits best.
        """
        assert size_bytes % ALIGNMENT == 0
        at = next((offset for offset in preferred if self._extents.is_free(offset, size_bytes)), None)
        start = self._extents.allocate(size_bytes, at)
        return None if start is None else self._at(start, size_bytes)

    def is_free(self, offset: int, size_bytes: int) -> bool:
        return self._extents.is_free(offset, size_bytes)

    def free(self, frame: torch.Tensor) -> None:
        """Free a frame; no reader may be left."""
        start = offset_of(frame)
        self._extents.free(start)
        place = (start, start + frame.numel())
        self._freed_s.pop(place, None)  # so that it is last in order again
        self._freed_s[place] = self._clock()

    def cheapest_run(self, size_bytes: int, cost: Callable[[int], float | None]) -> list[int] | None:
        """Return the offsets of the frames to free so that a frame of `size_bytes` fits; see `Extents`."""
        return self._extents.cheapest_run(size_bytes, cost)

    def compact(self, size_bytes: int, is_movable: Callable[[int], bool]) -> dict[int, torch.Tensor] | None:
        """Move frames together so that one of `size_bytes` fits; the copies run on the caller's stream.

        Returns the new frame for each old offset; None if frames that cannot be moved stand in the way.
        """
        moves = self._extents.slide(size_bytes, is_movable)
        if moves is None:
            return None
        for move in moves:
            self._move(move)
        return {move.start: self._at(move.to, move.size) for move in moves}

    # -- back to the system

    @property
    def due_s(self) -> float | None:
        """When `give_back` has something to do, in the clock's seconds; None if nothing is free."""
        return next(iter(self._freed_s.values())) + KEPT_S if self._freed_s else None

    def give_back(self) -> None:
        """Return memory that was freed KEPT_S ago to the system, but for bytes that were allocated since."""
        now_s = self._clock()
        while (due_s := self.due_s) is not None and due_s <= now_s:
            start, end = next(iter(self._freed_s))
            del self._freed_s[start, end]
            for free, size in self._extents.free_runs():
                if free < end and start < free + size:
                    self._memory.give_back(max(start, free), min(end, free + size))

    def close(self) -> None:
        self._memory.close()

    def check_integrity(self) -> None:
        self._extents.check_integrity()

    # -- small pieces

    def _at(self, start: int, size_bytes: int) -> torch.Tensor:
        return self._memory.bytes[start : start + size_bytes]

    def _move(self, move: Move) -> None:
        """Copy a frame to a lower place that it may overlap with, piece by piece through the scratch memory."""
        for at in range(0, move.size, SCRATCH_BYTES):
            size = min(SCRATCH_BYTES, move.size - at)
            self._scratch[:size].copy_(self._at(move.start + at, size))
            self._at(move.to + at, size).copy_(self._scratch[:size])


def offset_of(frame: torch.Tensor) -> int:
    """Return where a frame begins in its memory."""
    return int(frame.storage_offset())
