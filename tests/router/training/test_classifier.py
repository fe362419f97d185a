"""The classifiers keep scikit-learn's conventions; the temperature undoes overconfidence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from router.training.classifier import CategoryClassifier, CategoryNeighbours, fit_temperature


def what_neighbours_cannot(estimator: Any) -> dict[str, str]:
    is_neighbours = isinstance(estimator, CategoryNeighbours)
    why = "a prompt given twice takes two of the fifteen places; a prompt of weight two takes one"
    checks = ("check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data")
    return dict.fromkeys(checks, why) if is_neighbours else {}


@parametrize_with_checks([CategoryClassifier(), CategoryNeighbours()], expected_failed_checks=what_neighbours_cannot)
def test_the_classifiers_keep_scikit_learns_conventions(estimator: Any, check: Any) -> None:
    check(estimator)


def test_the_temperature_undoes_overconfidence() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 3))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(3, p=row) for row in chances])
    assert fit_temperature(logits * 5, labels) == pytest.approx(5, rel=0.1)
