"""Runs of bytes: none overlap, no free byte is out of reach, and as little as possible is freed or moved for it."""

from __future__ import annotations

import random

import pytest

from coe.weights.memory.extents import Extents


class Owner:
    """Extents, and beside them which bytes are in use."""

    def __init__(self, size: int) -> None:
        self.extents = Extents(size)
        self.size = size
        self.runs: dict[int, int] = {}

    def allocate(self, size: int, at: int | None = None) -> int | None:
        start = self.extents.allocate(size, at)
        if start is not None:
            self.runs[start] = size
        self.check()
        return start

    def free(self, start: int) -> None:
        del self.runs[start]
        self.extents.free(start)
        self.check()

    def slide(self, size: int, fixed: set[int]) -> bool:
        moves = self.extents.slide(size, lambda start: start not in fixed)
        for move in moves or ():
            assert move.to < move.start
            assert self.runs.pop(move.start) == move.size
            assert move.start not in fixed
            self.runs[move.to] = move.size
        self.check()
        return moves is not None

    @property
    def free_bytes(self) -> int:
        return self.size - sum(self.runs.values())

    def check(self) -> None:
        self.extents.check_integrity()
        assert self.extents.used_bytes == sum(self.runs.values()) <= self.size
        held: set[int] = set()
        for start, size in self.runs.items():
            own = set(range(start, start + size))
            assert not own & held, "two runs overlap"
            held |= own
        assert held <= set(range(self.size))


@pytest.mark.parametrize("seed", range(8))
def test_runs_never_overlap_and_free_bytes_are_never_out_of_reach(seed: int) -> None:
    """As many bytes as are free can be had in one piece, by freeing or by moving others."""
    chance = random.Random(seed)
    owner = Owner(100)
    for _ in range(600):
        size = chance.randrange(1, 30)
        if owner.runs and chance.random() < 0.45:
            owner.free(chance.choice(list(owner.runs)))
        elif owner.allocate(size, chance.choice([None, chance.randrange(100)])) is None and owner.free_bytes >= size:
            assert all(run < size for _, run in owner.extents.free_runs())
            if chance.random() < 0.5:
                assert owner.slide(size, set())
            else:
                costs = {start: chance.choice([None, 1.0, 5.0]) for start in owner.runs}
                going = owner.extents.cheapest_run(size, costs.get)
                assert going is not None or any(cost is None for cost in costs.values())
                for start in going or ():
                    assert costs[start] is not None
                    owner.free(start)
                if going is None:
                    assert owner.slide(size, set())
            assert owner.allocate(size) is not None


def test_all_that_is_freed_becomes_one_piece_again() -> None:
    owner = Owner(64)
    starts = [owner.allocate(size) for size in (8, 16, 4, 32, 4)]
    for start in (starts[1], starts[3], starts[0], starts[4], starts[2]):
        assert start is not None
        owner.free(start)
    assert list(owner.extents.free_runs()) == [(0, 64)]


def test_the_smallest_piece_that_fits_is_cut_and_a_wanted_place_is_kept() -> None:
    owner = Owner(40)
    starts = [owner.allocate(size) for size in (10, 2, 6, 2, 20)]
    for at in (0, 2, 4):
        owner.free(starts[at])  # type: ignore[arg-type]
    assert owner.allocate(6) == starts[2]
    assert owner.allocate(6, at=25) == 25
    assert owner.allocate(6, at=25) == 31, "what is in use is not to be had, and the smallest other place will do"


def test_the_place_that_loses_least_is_found() -> None:
    owner = Owner(24)
    for _ in range(6):
        owner.allocate(4)
    costs = {0: 1.0, 4: 9.0, 8: 2.0, 12: 2.0, 16: None, 20: 0.0}
    assert owner.extents.cheapest_run(8, costs.get) == [8, 12]
    assert owner.extents.cheapest_run(4, costs.get) == [20]
    assert owner.extents.cheapest_run(20, costs.get) is None


def test_moving_takes_the_fewest_bytes_and_none_that_must_stay() -> None:
    owner = Owner(32)
    for _ in range(8):
        owner.allocate(4)
    for start in (0, 8, 16, 24):
        owner.free(start)
    assert not owner.slide(8, {4, 12, 20, 28}), "all that is left stands in the way"
    assert owner.slide(8, {4, 12, 28})
    assert owner.allocate(8) is not None
    assert {4, 12, 28} <= set(owner.runs)
