"""The learned mapping is the exact optimum under its budget, checked against trying everything."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from router.mapping_study.learned_mapping import TIE, Budget, ExpertPool, frontier, learn_mapping

BUDGETS = [Budget(), Budget(2.5), Budget(None, 8e9), Budget(4.0, 20e9), Budget(None, None, 2), Budget(5.0, 25e9, 2)]


def pool(seed: int, **changes: object) -> ExpertPool:
    rng = np.random.default_rng(seed)
    values: dict[str, object] = {
        "categories": ("a", "b", "c", "d"),
        "experts": ("s", "m", "l"),
        "scores": rng.random((4, 3)).round(2),
        "frequencies": np.array([0.4, 0.3, 0.2, 0.1]),
        "active_b": np.array([1.0, 3.0, 9.0]),
        "sizes_bytes": np.array([2e9, 6e9, 18e9]),
    }
    return ExpertPool(**(values | changes))  # type: ignore[arg-type]


def brute_force(table: ExpertPool, budget: Budget) -> float:
    """The best score less 1e-5 for every expert used, over all mappings that fit."""
    num_categories, num_experts = table.scores.shape
    best = -1.0
    for chosen in product(range(num_experts), repeat=num_categories):
        index = np.array(chosen)
        used = np.unique(index)
        worth = float(table.frequencies @ table.scores[np.arange(num_categories), index]) - TIE * len(used)
        costs = (table.frequencies @ table.active_b[index], table.sizes_bytes[used].sum(), len(used))
        fits = all(limit is None or cost <= limit for cost, (_, limit) in zip(costs, budget.limits, strict=True))
        best = max(best, worth) if fits and not np.isnan(worth) else best
    return best


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("budget", BUDGETS, ids=str)
def test_the_mapping_is_the_best_there_is(seed: int, budget: Budget) -> None:
    learned = learn_mapping(pool(seed), budget)
    assert learned.score - TIE * learned.num_experts == pytest.approx(brute_force(pool(seed), budget), abs=1e-9)
    for cost, (_, limit) in zip(
        (learned.mean_active_b, learned.size_bytes, learned.num_experts), budget.limits, strict=True
    ):
        assert limit is None or cost <= limit * (1 + 1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_larger_pools_with_holes_are_solved_exactly_too(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    scores = rng.random((5, 5))
    scores[rng.random((5, 5)) < 0.3] = np.nan
    scores[:, 0] = np.where(np.isnan(scores[:, 0]), 0.1, scores[:, 0])
    frequencies = rng.dirichlet(np.ones(5))
    table = ExpertPool(
        tuple("abcde"), tuple("vwxyz"), scores, frequencies, np.arange(1.0, 6.0), np.arange(1.0, 6.0) * 1e9
    )
    budget = Budget(float(rng.uniform(1.5, 4)), float(rng.uniform(3e9, 10e9)))
    learned = learn_mapping(table, budget)
    assert learned.score - TIE * learned.num_experts == pytest.approx(brute_force(table, budget), abs=1e-9)


def test_exact_ties_go_to_fewer_experts() -> None:
    learned = learn_mapping(pool(0, scores=np.full((4, 3), 0.5)))
    assert learned.num_experts == 1


def test_a_hole_is_never_chosen_and_an_empty_category_is_named() -> None:
    scores = np.full((4, 3), 0.5)
    scores[0] = [np.nan, np.nan, 0.1]
    assert learn_mapping(pool(0, scores=scores)).mapping["a"] == "l"
    scores[0] = np.nan
    with pytest.raises(ValueError, match="category 'a': no expert has a score on it"):
        pool(0, scores=scores)


def test_a_budget_that_nothing_fits_says_what_would() -> None:
    with pytest.raises(
        ValueError,
        match=r"fits 0\.5 billion active parameters on average: the cheapest expert has 1 billion",
    ):
        learn_mapping(pool(0), Budget(max_mean_active_b=0.5))


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
def test_a_budget_of_nothing_is_refused(limit: float) -> None:
    with pytest.raises(ValueError, match="resident bytes: must be above 0"):
        Budget(max_bytes=limit)


def test_the_frontier_rises() -> None:
    points = frontier(pool(1))
    assert all(a.score < b.score and a.mean_active_b < b.mean_active_b for a, b in pairwise(points))
    assert points[-1].score == pytest.approx(learn_mapping(pool(1)).score)


def test_a_frontier_keeps_to_the_other_budgets() -> None:
    assert all(point.size_bytes <= 8e9 for point in frontier(pool(1), budget=Budget(max_bytes=8e9)))
