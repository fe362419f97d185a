"""The rule of one standard error: the mapping of the fewest experts whose score does not clearly differ from the best.

Owns the rule (Breiman et al. 1984), paired by prompt. Knows nothing about how a mapping is solved or what categories
mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from router.mapping_study.learned_mapping import UNLIMITED, Budget, LearnedMapping, learn_mapping
from router.mapping_study.score_table import Cost, ScoreTable

__all__ = ["fewest_experts"]


def fewest_experts(
    table: ScoreTable,
    labels: NDArray[np.str_],
    costs: Mapping[str, Cost],
    budget: Budget = UNLIMITED,
    standard_errors: float = 1.0,
) -> LearnedMapping:
    """Return the mapping of the fewest experts that is within `standard_errors` of the optimum; 0 is the optimum.

    Each candidate is the exact optimum for its number of experts.
    """
    pool = table.pool(labels, costs)
    best = learn_mapping(pool, budget)
    for num_experts in range(1, best.num_experts if standard_errors > 0 else 0):
        try:
            fewer = learn_mapping(pool, replace(budget, max_experts=num_experts))
        except ValueError:  # so few experts do not cover every category within the budget
            continue
        if best.score - fewer.score <= standard_errors * standard_error(table, labels, best, fewer):
            return fewer
    return best


def standard_error(table: ScoreTable, labels: NDArray[np.str_], one: LearnedMapping, other: LearnedMapping) -> float:
    """Return the standard error of the mean difference of two mappings over the prompts that both were measured on."""
    differences = chosen_scores(table, labels, one) - chosen_scores(table, labels, other)
    measured = differences[~np.isnan(differences)]
    return float(measured.std() / np.sqrt(max(len(measured), 1)))


def chosen_scores(table: ScoreTable, labels: NDArray[np.str_], learned: LearnedMapping) -> NDArray[np.float64]:
    """Return (prompts,): the score of the expert that a mapping gives each prompt."""
    columns = [table.experts.index(learned.mapping[label]) for label in labels.tolist()]
    scores: NDArray[np.float64] = table.values[np.arange(len(columns)), columns]
    return scores
