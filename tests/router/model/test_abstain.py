"""Confidence is the plain probability or what was fitted, and the rule is sure from a threshold on."""

from __future__ import annotations

import numpy as np
import pytest

from router.model.abstain import PLAIN, AbstainRule, features_of

PROBABILITIES = np.array([[0.9, 0.1], [0.5, 0.5]])
TEXTS = ["a question", "ein längerer Satz über Flüsse"]


def test_confidence_is_the_probability_of_the_likeliest_unless_something_was_fitted() -> None:
    assert AbstainRule(0.5).confidence(PROBABILITIES, TEXTS).tolist() == [0.9, 0.5]
    fitted = AbstainRule(0.5, (0.0, 0.0, 0.0, 0.0, -10.0), 2.0).confidence(PROBABILITIES, TEXTS)
    assert fitted[0] == pytest.approx(0.8808, abs=1e-4)  # no letter beyond ASCII: the intercept alone
    assert fitted[1] < fitted[0]


def test_features_are_odds_lead_entropy_length_and_script() -> None:
    odds, lead, entropy, length, script = features_of(PROBABILITIES, TEXTS).T.tolist()
    assert odds == pytest.approx([np.log(9), 0.0])
    assert lead == pytest.approx([0.8, 0.0])
    assert entropy == pytest.approx([0.3251, np.log(2)], abs=1e-4)
    assert length == pytest.approx(np.log([len(text) for text in TEXTS]))
    assert script == pytest.approx([0.0, 3 / len(TEXTS[1])])


def test_a_certain_probability_has_finite_odds() -> None:
    assert np.isfinite(features_of(np.array([[1.0, 0.0]]), [""])).all()


def test_the_rule_is_sure_from_the_threshold_on_and_says_what_is_missing() -> None:
    rule = AbstainRule(0.7)
    assert rule.is_sure(np.array([0.69, 0.7, np.nan])).tolist() == [False, True, False]
    assert rule.doubt(0.7) == ""
    assert rule.doubt(0.694) == "confidence 0.694 is below 0.700"
    assert rule.doubt(float("nan")) != ""


@pytest.mark.parametrize("threshold", [-0.1, 1.1])
def test_a_threshold_that_is_no_probability_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="must lie in 0 to 1"):
        AbstainRule(threshold)


def test_a_rule_of_another_number_of_features_is_refused() -> None:
    with pytest.raises(ValueError, match="2 coefficients, and there are 5"):
        AbstainRule(0.5, PLAIN[:2])
