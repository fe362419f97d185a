"""Fitting the abstain rule: what confidence means, and from where on it is too little.

Owns both, on scores of rows that no model was fitted on. Knows nothing about models or files.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from router.model.abstain import PLAIN, AbstainRule, features_of

__all__ = ["fit_abstain"]

Floats = NDArray[np.floating]
MIN_ROWS = 300  # of either outcome a tenth; with fewer, confidence stays the plain probability
MAX_THRESHOLD = 0.5  # above it the category is likelier right than wrong: its expert is the better guess


def fit_abstain(
    probabilities: Floats, texts: Sequence[str], is_right: NDArray[np.bool_], target_rate: float
) -> AbstainRule:
    """Return the rule under which at most `target_rate` of these in-domain prompts abstain, and never a likely one.

    `probabilities` (n, categories) must be out of fold: those of prompts that a classifier was fitted on are too good.
    """
    if not 0.0 <= target_rate < 1.0:
        raise ValueError(f"target_rate {target_rate}: must lie in 0 to 1, 1 excluded; 0.05 is a start")
    coef, intercept = fitted(probabilities, texts, is_right)
    confidence = AbstainRule(0.0, coef, intercept).confidence(probabilities, texts)
    return AbstainRule(min(MAX_THRESHOLD, lower_quantile(confidence, target_rate)), coef, intercept)


def fitted(probabilities: Floats, texts: Sequence[str], is_right: NDArray[np.bool_]) -> tuple[tuple[float, ...], float]:
    """Return coefficients and intercept; those of the plain probability where the rows are too few to learn from."""
    if len(is_right) < MIN_ROWS or min(is_right.sum(), (~is_right).sum()) < MIN_ROWS / 10:
        return PLAIN, 0.0
    scaler = StandardScaler()
    regression = LogisticRegression().fit(scaler.fit_transform(features_of(probabilities, texts)), is_right)
    coef = regression.coef_[0] / scaler.scale_
    return tuple(coef.tolist()), float(regression.intercept_[0] - coef @ scaler.mean_)


def lower_quantile(values: Floats, rate: float) -> float:
    """Return the largest value below which at most `rate` of the values lie."""
    ordered = np.sort(values)
    return float(ordered[int(np.floor(rate * len(ordered)))])
