"""The abstain rule is fitted to a rate, means what it says, and never silences a likely category."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from router.evaluation.calibration import expected_calibration_error
from router.model.abstain import PLAIN
from router.training.risk import MAX_THRESHOLD, fit_abstain


def scores(num: int, seed: int = 0) -> tuple[NDArray[np.float64], list[str], NDArray[np.bool_]]:
    """Two categories whose probability says too much by far in prompts beyond ASCII."""
    rng = np.random.default_rng(seed)
    likeliest = rng.uniform(0.5, 1.0, num)
    is_foreign = rng.random(num) < 0.5
    chance = np.where(is_foreign, 0.5 * likeliest, likeliest)
    texts = ["яблоко" if foreign else "apple" for foreign in is_foreign.tolist()]
    return np.stack([likeliest, 1 - likeliest], axis=1), texts, rng.random(num) < chance


def test_confidence_equals_accuracy_on_other_rows() -> None:
    rule = fit_abstain(*scores(4000), 0.05)
    probabilities, texts, is_right = scores(4000, seed=1)
    confidence = rule.confidence(probabilities, texts)
    assert expected_calibration_error(confidence, is_right) < 0.05
    assert expected_calibration_error(probabilities.max(axis=1), is_right) > 0.15


@pytest.mark.parametrize("target", [0.0, 0.05, 0.2])
def test_at_most_the_target_abstains(target: float) -> None:
    probabilities, texts, is_right = scores(2000)
    rule = fit_abstain(probabilities, texts, is_right, target)
    abstained = (~rule.is_sure(rule.confidence(probabilities, texts))).mean()
    assert target - 0.002 <= abstained <= target


def test_templates_that_are_always_right_do_not_silence_the_router() -> None:
    """A quantile of their confidence would be 1: every prompt of another form would abstain."""
    certain = np.tile([[0.9999, 0.0001]], (500, 1))
    rule = fit_abstain(certain, ["x"] * 500, np.ones(500, bool), 0.05)
    assert rule.min_confidence == MAX_THRESHOLD


def test_few_rows_keep_the_plain_probability() -> None:
    probabilities, texts, is_right = scores(100)
    assert fit_abstain(probabilities, texts, is_right, 0.05).coef == PLAIN


def test_a_target_that_is_no_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="target_rate 1"):
        fit_abstain(*scores(10), 1.0)
