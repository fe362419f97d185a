"""The simulator moves what it must: its optimum is the least possible, and ours lies between that and LRU."""

from __future__ import annotations

import random
from functools import cache

import pytest

from coe.bench.policy.simulation import NUM_UNITS, UNIT_BYTES, simulate
from coe.bench.zipf import zipf

EXPERT_BYTES = NUM_UNITS * UNIT_BYTES


def least_units(requests: list[str], capacity: int) -> int:
    """Units that any policy must move, by trying everything; residents are counts of leading units per expert."""
    names = sorted(set(requests))

    @cache
    def rest(at: int, residents: tuple[int, ...]) -> int:
        if at == len(requests):
            return 0
        own = names.index(requests[at])
        missing = NUM_UNITS - residents[own]
        full = [*residents]
        full[own] = NUM_UNITS
        over = max(0, sum(full) - capacity)
        return missing + min(rest(at + 1, left) for left in evictions(tuple(full), own, over))

    return rest(0, (0,) * len(names))


def evictions(residents: tuple[int, ...], own: int, over: int) -> list[tuple[int, ...]]:
    """Every way to take `over` units from the others."""
    if not over:
        return [residents]
    found = set()
    for other, count in enumerate(residents):
        if other != own and count:
            fewer = (*residents[:other], count - 1, *residents[other + 1 :])
            found |= set(evictions(fewer, own, over - 1))
    return sorted(found)


@pytest.mark.parametrize("seed", range(3))
def test_optimum_is_the_least_that_any_policy_could_move(seed: int) -> None:
    requests = random.Random(seed).choices("abc", k=9)
    capacity = NUM_UNITS + 3
    moved = simulate(requests, capacity * UNIT_BYTES, "optimum", 0).num_bytes
    assert moved == least_units(requests, capacity) * UNIT_BYTES


def test_ours_lies_between_lru_and_the_optimum_and_a_known_queue_helps() -> None:
    names = [f"{index}" for index in range(12)]
    requests = random.Random(1).choices(names, zipf(1.0, 12), k=600)
    moved = {
        (policy, queue): simulate(requests, 3 * EXPERT_BYTES, policy, queue).num_bytes
        for policy in ("lru", "value", "optimum")
        for queue in (0, 8)
    }
    assert moved["optimum", 0] < moved["value", 0] < moved["lru", 0]
    closed = {
        queue: (moved["lru", queue] - moved["value", queue]) / (moved["lru", queue] - moved["optimum", queue])
        for queue in (0, 8)
    }
    assert closed[8] > closed[0]


def test_what_fits_is_moved_once_by_everybody() -> None:
    requests = random.Random(2).choices("abc", k=50)
    for policy in ("lru", "value", "optimum"):
        assert simulate(requests, 3 * EXPERT_BYTES, policy, 4).num_bytes == 3 * EXPERT_BYTES
