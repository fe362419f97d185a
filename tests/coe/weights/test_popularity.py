"""How soon an expert will be wanted: the queue first, then shares of recent requests; and what a link carries."""

from __future__ import annotations

import pytest

from coe.weights.bandwidth import Bandwidth
from coe.weights.popularity import Popularity


def test_who_waits_is_wanted_in_order_and_before_anybody_who_does_not() -> None:
    popularity = Popularity()
    for _ in range(100):
        popularity.asked("hot")
    popularity.expect(["b", "a"])
    assert popularity.chance("b") > popularity.chance("a") > popularity.chance("hot") > popularity.chance("never")
    popularity.expect(())
    assert popularity.chance("hot") > popularity.chance("b") == popularity.chance("a")


def test_shares_add_up_and_old_requests_fade() -> None:
    popularity = Popularity(half_life=10)
    for _ in range(300):
        popularity.asked("old")
    assert popularity.share("old") == pytest.approx(1.0)
    for _ in range(10):
        popularity.asked("new")
    assert popularity.share("old") + popularity.share("new") == pytest.approx(1.0)
    assert popularity.share("old") == pytest.approx(0.5, abs=0.01)


def test_growing_weights_never_overflow() -> None:
    popularity = Popularity(half_life=0.5)
    for _ in range(20_000):
        popularity.asked("a")
        popularity.asked("b")
    assert 0 < popularity.share("a") < popularity.share("b") < 1


def test_bandwidth_counts_busy_time_once_and_forgets_its_guess() -> None:
    link = Bandwidth(1e12)
    assert link.note(1000, 10.0, 11.0) == 1.0
    assert link.note(1000, 10.5, 12.0) == 1.0, "half a second of it another transfer was moving too"
    assert link.note(1000, 11.0, 11.5) == 0.0
    for second in range(20, 60):
        link.note(500, float(second), second + 1.0)
    assert link.bytes_per_s == pytest.approx(500, rel=0.01)
