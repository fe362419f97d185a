"""The learned mapping is the exact optimum under its budget, checked against trying everything."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from router.mapping import Budget, Pool, frontier, learn_mapping


def pool(seed: int, **changes: object) -> Pool:
    rng = np.random.default_rng(seed)
    values: dict[str, object] = {
        "categories": ("a", "b", "c", "d"),
        "experts": ("s", "m", "l"),
        "scores": rng.random((4, 3)).round(2),
        "frequencies": np.array([0.4, 0.3, 0.2, 0.1]),
        "active": np.array([1.0, 3.0, 9.0]),
        "sizes_bytes": np.array([2.0, 6.0, 18.0]),
    }
    return Pool(**(values | changes))  # type: ignore[arg-type]


def brute_force(table: Pool, budget: Budget) -> float:
    best = -1.0
    for chosen in product(range(3), repeat=4):
        index = np.array(chosen)
        score = float(table.frequencies @ table.scores[np.arange(4), index])
        fits = table.frequencies @ table.active[index] <= (budget.max_mean_active or np.inf) + 1e-9
        fits &= table.sizes_bytes[np.unique(index)].sum() <= (budget.max_bytes or np.inf)
        best = max(best, score) if fits else best
    return best


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("budget", [Budget(), Budget(2.5), Budget(None, 8.0), Budget(4.0, 20.0)])
def test_the_mapping_is_the_best_there_is(seed: int, budget: Budget) -> None:
    learned = learn_mapping(pool(seed), budget)
    assert learned.score == pytest.approx(brute_force(pool(seed), budget), abs=5e-5)
    assert learned.mean_active <= (budget.max_mean_active or np.inf) + 1e-6
    assert learned.size_bytes <= (budget.max_bytes or np.inf)


def test_ties_go_to_fewer_experts() -> None:
    learned = learn_mapping(pool(0, scores=np.full((4, 3), 0.5)))
    assert len(set(learned.mapping.values())) == 1


def test_a_hole_is_never_chosen_and_an_empty_category_is_named() -> None:
    scores = np.full((4, 3), 0.5)
    scores[0] = [np.nan, np.nan, 0.1]
    assert learn_mapping(pool(0, scores=scores)).mapping["a"] == "l"
    scores[0] = np.nan
    with pytest.raises(ValueError, match="category 'a': no expert has a score on it"):
        pool(0, scores=scores)


def test_a_budget_that_nothing_fits_says_what_would() -> None:
    with pytest.raises(ValueError, match="the cheapest expert has 1 active parameters"):
        learn_mapping(pool(0), Budget(max_mean_active=0.5))


def test_the_frontier_rises() -> None:
    points = frontier(pool(1))
    assert all(a.score < b.score and a.mean_active < b.mean_active for a, b in pairwise(points))
    assert points[-1].score == pytest.approx(learn_mapping(pool(1)).score)
