"""The best mapping category -> expert under a budget, learned from mean scores.

Owns the budget and the exact optimum of the budgeted choice (Composition of Experts, arXiv 2412.01868). Knows nothing
about prompts or embeddings: it sees categories, experts and numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["Budget", "ExpertPool", "LearnedMapping", "frontier", "learn_mapping"]

TIE = 1e-5  # a gain in expected score that is not worth one more expert
SCALE = 1e4  # of the objective: the solver stops at an absolute gap of 1e-6, far below a tie
Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class ExpertPool:
    """Mean scores per category and expert, and the experts' costs.

    `scores` is (categories, experts), NaN where nothing was measured; `frequencies` (categories,) is the share of
    prompts that the router puts into each category; `active_b` (experts,) is billions of active parameters;
    `sizes_bytes` (experts,) is an expert's size when resident.
    """

    categories: tuple[str, ...]
    experts: tuple[str, ...]
    scores: Floats
    frequencies: Floats
    active_b: Floats
    sizes_bytes: Floats

    def __post_init__(self) -> None:
        if not self.experts:
            raise ValueError("no expert in the pool: a mapping needs at least one with scores and a known size")
        holes = np.flatnonzero(np.isnan(self.scores).all(axis=1))
        if len(holes):
            raise ValueError(f"category '{self.categories[holes[0]]}': no expert has a score on it; score one first")


@dataclass(frozen=True, slots=True)
class Budget:
    """The limits on a mapping's cost; None is no limit."""

    max_mean_active_b: float | None = None
    max_bytes: float | None = None
    max_experts: int | None = None

    def __post_init__(self) -> None:
        for what, limit in self.limits:
            if limit is not None and not limit > 0:
                raise ValueError(f"budget of {limit:g} {what}: must be above 0; leave it out for no limit")

    @property
    def limits(self) -> tuple[tuple[str, float | None], ...]:
        return (
            ("billion active parameters on average", self.max_mean_active_b),
            ("resident bytes", self.max_bytes),
            ("experts", self.max_experts),
        )

    def __str__(self) -> str:
        return " and ".join(f"{limit:g} {what}" for what, limit in self.limits if limit is not None) or "no budget"


UNLIMITED = Budget()


@dataclass(frozen=True, slots=True)
class LearnedMapping:
    """The best mapping under a budget, with its expected score and costs."""

    mapping: Mapping[str, str]
    score: float
    mean_active_b: float
    size_bytes: float

    @property
    def num_experts(self) -> int:
        return len(set(self.mapping.values()))


def learn_mapping(pool: ExpertPool, budget: Budget = UNLIMITED) -> LearnedMapping:
    """Return the mapping with the highest expected score under the budget, solved exactly.

    An expert that adds no more than 1e-5 to the expected score is left out, so ties go to fewer experts. A pair without
    a measured score is never chosen. Budgets hold within the solver's tolerance, 1e-6 of the budget.

    Raises:
        ValueError: no mapping fits the budget; the message says what would.
    """
    from scipy.optimize import Bounds, milp  # 0.3 s to import

    num_pairs, num_experts = pool.scores.size, len(pool.experts)
    gains = pool.frequencies[:, None] * np.nan_to_num(pool.scores)
    result = milp(  # variables: pairs (category, expert), then experts used
        c=SCALE * np.r_[-gains.ravel(), np.full(num_experts, TIE)],
        constraints=constraints_of(pool, budget),
        integrality=np.ones(num_pairs + num_experts),
        bounds=Bounds(0, np.r_[~np.isnan(pool.scores).ravel(), np.ones(num_experts)]),
        options={"mip_rel_gap": 0.0},
    )
    if result.x is None:
        raise ValueError(
            f"no mapping fits {budget}: the cheapest expert has {pool.active_b.min():g} billion active parameters and "
            f"the smallest takes {pool.sizes_bytes.min():g} bytes, and a category can only go to an expert with a "
            f"score on it; raise the budget, or score or add a smaller expert"
        )
    return described(pool, result.x[:num_pairs].reshape(pool.scores.shape).argmax(axis=1))


def constraints_of(pool: ExpertPool, budget: Budget) -> list[object]:
    """Return the constraints: one expert per category; a chosen expert counts as used; each limit, scaled to 1."""
    from scipy.optimize import LinearConstraint
    from scipy.sparse import coo_array, csr_array, eye_array, hstack, kron

    num_categories, num_experts = pool.scores.shape
    pairs = num_categories * num_experts
    one_each = hstack(
        [kron(eye_array(num_categories), np.ones((1, num_experts))), coo_array((num_categories, num_experts))]
    )
    used = hstack([eye_array(pairs), -kron(np.ones((num_categories, 1)), eye_array(num_experts))])
    rows = [LinearConstraint(csr_array(one_each), 1, 1), LinearConstraint(csr_array(used), -np.inf, 0)]
    mean_active = np.r_[(pool.frequencies[:, None] * pool.active_b).ravel(), np.zeros(num_experts)]
    costs = (mean_active, np.r_[np.zeros(pairs), pool.sizes_bytes], np.r_[np.zeros(pairs), np.ones(num_experts)])
    for cost, (_, limit) in zip(costs, budget.limits, strict=True):
        if limit is not None:
            rows.append(LinearConstraint(cost[None] / limit, -np.inf, 1))
    return list(rows)


def described(pool: ExpertPool, chosen: NDArray[np.integer]) -> LearnedMapping:
    """Return the mapping that gives category i expert chosen[i]."""
    rows = np.arange(len(chosen))
    return LearnedMapping(
        {category: pool.experts[index] for category, index in zip(pool.categories, chosen, strict=True)},
        float(pool.frequencies @ pool.scores[rows, chosen]),
        float(pool.frequencies @ pool.active_b[chosen]),
        float(pool.sizes_bytes[np.unique(chosen)].sum()),
    )


def frontier(
    pool: ExpertPool,
    num_points: int = 24,
    budget: Budget = UNLIMITED,
    show: Callable[[Iterable[float]], Iterable[float]] = iter,
) -> list[LearnedMapping]:
    """Return the best mappings from the cheapest mean of active parameters upwards, each better than the last.

    The other limits of the budget hold at every point. `show` gives what it is given, and may draw how far that is.
    """
    costs = np.where(np.isnan(pool.scores), np.nan, -pool.active_b)
    lowest = learn_mapping(replace(pool, scores=costs), budget).mean_active_b
    kept: list[LearnedMapping] = []
    for limit in show(np.geomspace(lowest, pool.active_b.max(), num_points).tolist()):
        point = learn_mapping(pool, replace(budget, max_mean_active_b=limit * (1 + 1e-9)))
        if not kept or point.score > kept[-1].score + TIE:
            kept.append(point)
    return kept
