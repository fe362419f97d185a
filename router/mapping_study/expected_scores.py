"""Expected scores of experts from category probabilities, instead of from the likeliest category alone.

Owns a ridge regression of measured scores on probabilities: a matrix (categories, experts) whose product with a
prompt's probabilities is each expert's expected score. It undoes confusions of the classifier. The penalty, counted in
prompts, draws small categories towards the experts' overall means. Knows nothing about prompts, budgets or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["ExpectedScores", "fit_expected", "regularised"]

Floats = NDArray[np.floating]
PENALTIES = (3.0, 10.0, 30.0, 100.0)


class ExpectedScores(NamedTuple):
    """The fitted matrix, (categories, experts), and its penalty."""

    by_category: Floats
    penalty: float

    def of(self, probabilities: Floats) -> Floats:
        """Return (prompts, experts) expected scores from (prompts, categories) probabilities."""
        scores: Floats = probabilities @ self.by_category
        return scores


def regularised(probabilities: Floats, values: Floats, penalty: float) -> ExpectedScores:
    """Return the regression of (prompts, experts) scores on (prompts, categories) probabilities out of fold."""
    centre, overall = probabilities.mean(axis=0), values.mean(axis=0)
    shifted = probabilities - centre
    gram = shifted.T @ shifted + penalty * np.eye(len(centre))
    slopes = np.linalg.solve(gram, shifted.T @ (values - overall))
    return ExpectedScores(overall - centre @ slopes + slopes, penalty)  # probabilities sum to 1: no intercept needed


def fit_expected(
    probabilities: Floats,
    values: Floats,
    folds: NDArray[np.integer],
    penalties: Sequence[float] = PENALTIES,
) -> ExpectedScores:
    """Return the regression with the penalty whose choices score best on folds left out; of equals, the largest."""
    best = max(sorted(penalties, reverse=True), key=lambda penalty: held_out(probabilities, values, folds, penalty))
    return regularised(probabilities, values, best)


def held_out(probabilities: Floats, values: Floats, folds: NDArray[np.integer], penalty: float) -> float:
    """Return the mean score of the experts that are chosen for prompts of a fold left out."""
    total = 0.0
    for fold in np.unique(folds):
        held = folds == fold
        expected = regularised(probabilities[~held], values[~held], penalty).of(probabilities[held])
        total += float(values[held, expected.argmax(axis=1)].sum())
    return total / len(values)
