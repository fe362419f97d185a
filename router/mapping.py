"""Category to expert: the table a router decides by, checked or learned from scores under a budget.

Owns what makes a mapping valid and the exact optimum of the budgeted choice (Composition of Experts, arXiv 2412.01868).
Knows nothing about prompts or embeddings: it sees categories, experts and numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.directory import Directory

__all__ = ["Budget", "LearnedMapping", "Pool", "checked_mapping", "frontier", "learn_mapping"]

TIE = 1e-5  # a gain in expected score that is not worth one more expert
Floats = NDArray[np.floating]


def checked_mapping(mapping: Mapping[str, str], categories: Sequence[str], directory: Directory) -> Mapping[str, str]:
    """Return the mapping with the artefact's spelling of categories and the experts' own names.

    Raises:
        ValueError: a category that the classifier does not have, or an expert that nobody knows.
    """
    known = {category.casefold(): category for category in categories}
    checked: dict[str, str] = {}
    for category, expert in mapping.items():
        if category.casefold() not in known:
            raise ValueError(
                f"category '{category}': the router does not have it; its categories: {', '.join(categories)}"
            )
        checked[known[category.casefold()]] = directory.resolve(expert, f"category '{category}' maps to")
    return checked


@dataclass(frozen=True, slots=True)
class Pool:
    """Mean scores per category and expert, and what the experts cost.

    `scores` is (categories, experts), NaN where nobody measured; `frequencies` (categories,) is how often the router
    itself picks a category and sums to 1; `active` (experts,) is active parameters in any one unit; `sizes_bytes`
    (experts,) is what an expert takes when resident.
    """

    categories: tuple[str, ...]
    experts: tuple[str, ...]
    scores: Floats
    frequencies: Floats
    active: Floats
    sizes_bytes: Floats

    def __post_init__(self) -> None:
        holes = np.flatnonzero(np.isnan(self.scores).all(axis=1))
        if len(holes):
            raise ValueError(f"category '{self.categories[holes[0]]}': no expert has a score on it; score one first")


@dataclass(frozen=True, slots=True)
class Budget:
    """What a mapping may cost; None is no limit."""

    max_mean_active: float | None = None
    max_bytes: float | None = None


@dataclass(frozen=True, slots=True)
class LearnedMapping:
    """The best mapping under a budget, and what to expect of it."""

    mapping: Mapping[str, str]
    score: float
    mean_active: float
    size_bytes: float


def learn_mapping(pool: Pool, budget: Budget | None = None) -> LearnedMapping:
    """Return the mapping with the highest expected score under the budget, solved exactly.

    Ties (1e-5) go to fewer experts. A pair that nobody measured is never chosen.

    Raises:
        ValueError: no mapping fits the budget; the message says what would.
    """
    from scipy.optimize import Bounds, milp  # 0.3 s to import; serving does not need it

    num_pairs, num_experts = pool.scores.size, len(pool.experts)
    gains = pool.frequencies[:, None] * np.nan_to_num(pool.scores)
    result = milp(
        c=np.r_[-gains.ravel(), np.full(num_experts, TIE)],  # variables: pairs (category, expert), then experts used
        constraints=constraints_of(pool, budget or Budget()),
        integrality=np.ones(num_pairs + num_experts),
        bounds=Bounds(0, np.r_[~np.isnan(pool.scores).ravel(), np.ones(num_experts)]),
        options={"mip_rel_gap": 0.0},
    )
    if result.x is None:
        raise ValueError(
            f"no mapping fits {budget}: the cheapest expert has {pool.active.min():g} active parameters and the "
            f"smallest takes {pool.sizes_bytes.min():g} bytes; raise the budget or add a smaller expert"
        )
    return described(pool, result.x[:num_pairs].reshape(pool.scores.shape).argmax(axis=1))


def constraints_of(pool: Pool, budget: Budget) -> list[object]:
    """Return: one expert per category; a chosen expert is used; the mean of active parameters; the sum of bytes."""
    from scipy.optimize import LinearConstraint
    from scipy.sparse import coo_array, csr_array, eye_array, hstack, kron

    num_categories, num_experts = pool.scores.shape
    pairs = num_categories * num_experts
    one_each = hstack(
        [kron(eye_array(num_categories), np.ones((1, num_experts))), coo_array((num_categories, num_experts))]
    )
    used = hstack([eye_array(pairs), -kron(np.ones((num_categories, 1)), eye_array(num_experts))])
    rows = [LinearConstraint(csr_array(one_each), 1, 1), LinearConstraint(csr_array(used), -np.inf, 0)]
    if budget.max_mean_active is not None:
        cost = np.r_[(pool.frequencies[:, None] * pool.active).ravel(), np.zeros(num_experts)]
        rows.append(LinearConstraint(cost[None], -np.inf, budget.max_mean_active))
    if budget.max_bytes is not None:
        rows.append(LinearConstraint(np.r_[np.zeros(pairs), pool.sizes_bytes][None], -np.inf, budget.max_bytes))
    return list(rows)


def described(pool: Pool, chosen: NDArray[np.integer]) -> LearnedMapping:
    """Return the mapping that gives category i expert chosen[i]."""
    rows = np.arange(len(chosen))
    return LearnedMapping(
        {category: pool.experts[index] for category, index in zip(pool.categories, chosen, strict=True)},
        float(pool.frequencies @ pool.scores[rows, chosen]),
        float(pool.frequencies @ pool.active[chosen]),
        float(pool.sizes_bytes[np.unique(chosen)].sum()),
    )


def frontier(pool: Pool, num_points: int = 24) -> list[LearnedMapping]:
    """Return the best mappings from the cheapest mean of active parameters upwards, each better than the last."""
    budgets = np.geomspace(pool.active.min(), pool.active.max(), num_points)
    points = [learn_mapping(pool, Budget(max_mean_active=float(budget) * (1 + 1e-9))) for budget in budgets]
    kept: list[LearnedMapping] = []
    for point in points:
        if not kept or point.score > kept[-1].score + TIE:
            kept.append(point)
    return kept
