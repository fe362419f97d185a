"""Choices keep to a limit on the mean of active parameters, and spend it where it gains most."""

from __future__ import annotations

import numpy as np
import pytest

from router.spending_study.equal_cost import budgets_between, choose

ACTIVE = np.array([1.0, 9.0])


def test_the_dear_expert_goes_where_it_gains_most() -> None:
    gains = np.array([0.1, 0.4, 0.2, 0.3])
    expected = np.column_stack([np.full(4, 0.5), 0.5 + gains])
    assert choose(expected, ACTIVE, 9).tolist() == [1, 1, 1, 1]
    assert choose(expected, ACTIVE, 5).tolist() == [0, 1, 0, 1]
    assert choose(expected, ACTIVE, 3).tolist() == [0, 1, 0, 0]
    assert choose(expected, ACTIVE, 1).tolist() == [0, 0, 0, 0]


def test_a_limit_is_kept_and_of_equals_the_cheapest_is_taken() -> None:
    rng = np.random.default_rng(0)
    expected = rng.random((500, 2))
    for limit in (1.5, 3.0):
        assert limit - 0.1 < ACTIVE[choose(expected, ACTIVE, limit)].mean() <= limit
    assert choose(np.full((3, 2), 0.5), ACTIVE, float("inf")).tolist() == [0, 0, 0]


def test_a_limit_below_the_cheapest_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a mean of 0\.5 B: the cheapest expert has 1 B"):
        choose(np.zeros((1, 2)), ACTIVE, 0.5)


def test_budgets_lie_between_the_cheapest_and_the_dearest() -> None:
    assert budgets_between(ACTIVE, 1) == pytest.approx([3.0])
