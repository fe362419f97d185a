"""How soon an expert will be wanted: the queue first, then shares of recent requests."""

from __future__ import annotations

import pytest

from coe.weights.residency.popularity import Popularity


def test_waiting_experts_are_wanted_in_order_and_before_all_others() -> None:
    popularity = Popularity()
    for _ in range(100):
        popularity.count_request("hot")
    popularity.expect(["b", "a"])
    assert popularity.chance("b") > popularity.chance("a") > popularity.chance("hot") > popularity.chance("never")
    popularity.expect(())
    assert popularity.chance("hot") > popularity.chance("b") == popularity.chance("a")


def test_shares_add_up_and_old_requests_fade() -> None:
    popularity = Popularity(half_life=10)
    for _ in range(300):
        popularity.count_request("old")
    assert popularity.share("old") == pytest.approx(1.0)
    for _ in range(10):
        popularity.count_request("new")
    assert popularity.share("old") + popularity.share("new") == pytest.approx(1.0)
    assert popularity.share("old") == pytest.approx(0.5, abs=0.01)


def test_growing_weights_never_overflow() -> None:
    popularity = Popularity(half_life=0.5)
    for _ in range(20_000):
        popularity.count_request("a")
        popularity.count_request("b")
    assert 0 < popularity.share("a") < popularity.share("b") < 1
