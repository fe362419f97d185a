"""Which bytes of one piece of memory are in use: runs of bytes are allocated, freed, merged and moved. Pure.

An allocation takes the low end of the smallest free run that fits (the lowest of equals); free neighbours merge. Where
the free bytes are scattered, `cheapest_run` names the runs to free and `slide` those to move so that they become one
run. Knows nothing about units or memory.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from typing import NamedTuple

__all__ = ["Extents", "Move"]


class Move(NamedTuple):
    """Bytes that move from `start` to the lower `to`; the two ranges may overlap."""

    start: int
    to: int
    size: int


class _Run(NamedTuple):
    start: int
    size: int
    is_free: bool

    @property
    def end(self) -> int:
        return self.start + self.size


class Extents:
    """Runs of bytes in [0, size): they never overlap, and what is not in use is free."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.used_bytes = 0
        self._used: dict[int, int] = {}  # start -> size
        self._free: dict[int, int] = {0: size} if size else {}
        self._starts = list(self._free)  # of the free runs, in order

    # -- allocating and freeing

    def allocate(self, size: int, at: int | None = None) -> int | None:
        """Allocate a run, at `at` if those bytes are free; returns its start, None if no free run is long enough."""
        start = at if at is not None and self.is_free(at, size) else self._best_fit(size)
        if start is None:
            return None
        around = self._free_around(start)
        assert around is not None
        end = around + self._take_free(around)
        self._put_free(around, start)
        self._put_free(start + size, end)
        self._used[start] = size
        self.used_bytes += size
        return start

    def free(self, start: int) -> None:
        """Free a run; it merges with the free runs beside it."""
        size = self._used.pop(start)
        self.used_bytes -= size
        end = start + size
        if end in self._free:
            end += self._take_free(end)
        before = self._free_around(start - 1)
        if before is not None and before + self._free[before] == start:
            self._take_free(before)
            start = before
        self._put_free(start, end)

    def is_free(self, start: int, size: int) -> bool:
        around = self._free_around(start)
        return around is not None and start + size <= around + self._free[around]

    def free_runs(self) -> Iterator[tuple[int, int]]:
        """Start and size of every free run, the lowest first."""
        return ((start, self._free[start]) for start in self._starts)

    # -- when free bytes are scattered

    def cheapest_run(self, size: int, cost: Callable[[int], float | None]) -> list[int] | None:
        """Return the starts of the used runs to free so that `size` bytes lie in one piece, at the least cost.

        `cost` returns what freeing the run at a start loses, None if it has to stay. Returns None if runs that stay
        leave no such place.
        """
        best: tuple[float, list[int]] | None = None
        for runs in self._between(lambda start: cost(start) is None):
            for window in _windows(runs, lambda run: run.size, size):
                going = [run.start for run in window if not run.is_free]
                lost = sum(cost(start) or 0.0 for start in going)
                if best is None or lost < best[0]:
                    best = lost, going
        return None if best is None else best[1]

    def slide(self, size: int, is_movable: Callable[[int], bool]) -> list[Move] | None:
        """Move runs together so that `size` bytes are free in one piece, moving the fewest bytes.

        Returns the moves, to be made in that order; None if runs that cannot be moved stand between the free ones.
        """
        best: tuple[int, list[_Run]] | None = None
        for runs in self._between(lambda start: not is_movable(start)):
            for window in _windows(runs, lambda run: run.size if run.is_free else 0, size):
                moved = sum(run.size for run in window if not run.is_free)
                if best is None or moved < best[0]:
                    best = moved, window
        if best is None:
            return None
        to, moves = best[1][0].start, []
        for run in best[1]:
            if not run.is_free:
                moves.append(Move(run.start, to, run.size))
                to += run.size
        for move in moves:
            self.free(move.start)
        for move in moves:
            self.allocate(move.size, move.to)
        return moves

    # -- small pieces

    def _best_fit(self, size: int) -> int | None:
        fitting = ((self._free[start], start) for start in self._starts if self._free[start] >= size)
        return min(fitting, default=(0, None))[1]

    def _free_around(self, at: int) -> int | None:
        """The start of the free run that holds byte `at`."""
        index = bisect_right(self._starts, at) - 1
        if index < 0:
            return None
        start = self._starts[index]
        return start if at < start + self._free[start] else None

    def _put_free(self, start: int, end: int) -> None:
        if start < end:
            self._free[start] = end - start
            insort(self._starts, start)

    def _take_free(self, start: int) -> int:
        del self._starts[bisect_left(self._starts, start)]
        return self._free.pop(start)

    def _between(self, is_barrier: Callable[[int], bool]) -> Iterator[list[_Run]]:
        """All runs in order, in groups that used runs for which `is_barrier` holds separate."""
        runs = [_Run(start, size, False) for start, size in self._used.items()]
        runs += [_Run(start, size, True) for start, size in self._free.items()]
        group: list[_Run] = []
        for run in sorted(runs):
            if not run.is_free and is_barrier(run.start):
                yield group
                group = []
            else:
                group.append(run)
        yield group

    # -- proof

    def check_integrity(self) -> None:
        """Raise AssertionError if runs overlap, leave gaps or were not merged."""
        runs = sorted(
            [(start, size, 0) for start, size in self._used.items()] + [(*run, 1) for run in self.free_runs()]
        )
        at, was_free = 0, 0
        for start, size, is_free in runs:
            assert start == at, f"a gap or an overlap at {at}"
            assert size > 0
            assert not (was_free and is_free), f"free runs that were not merged at {start}"
            at, was_free = start + size, is_free
        assert at == self.size
        assert self.used_bytes == sum(self._used.values())
        assert self._starts == sorted(self._free)


def _windows(runs: list[_Run], gain: Callable[[_Run], int], size: int) -> Iterator[list[_Run]]:
    """For each last run, the shortest group of neighbours up to it whose gains together reach `size`."""
    first, gained = 0, 0
    for last, run in enumerate(runs):
        gained += gain(run)
        while gained - gain(runs[first]) >= size:
            gained -= gain(runs[first])
            first += 1
        if gained >= size:
            yield runs[first : last + 1]
