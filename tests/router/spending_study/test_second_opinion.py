"""An opinion counts as much as it helped on other families; calibration takes a sentence's own likelihood away."""

from __future__ import annotations

import numpy as np
import pytest

from router.spending_study.second_opinion import WEIGHTS, Opinions, best_weight, report_of, sentence

RNG = np.random.default_rng(0)
TRUTH = RNG.integers(0, 3, 300)
FAMILIES = np.array([f"f{number % 30}" for number in range(300)])
UNSURE = np.log(np.full((300, 3), 1 / 3)) + RNG.normal(0, 0.1, (300, 3))
PRIOR = np.array([5.0, 0.0, -5.0])


def opinions(strength: float) -> Opinions:
    told = strength * np.eye(3)[TRUTH] + RNG.normal(0, 1, (300, 3))
    return Opinions(UNSURE, told + PRIOR, PRIOR, TRUTH, FAMILIES)


def test_an_opinion_that_knows_is_followed() -> None:
    found = report_of(opinions(4.0))
    assert found.combined > 0.95
    assert found.router < 0.5
    assert found.language_model > 0.95
    assert found.uncalibrated < 0.7  # the first sentence is likely after anything
    assert found.difference.low > 0.3
    assert (found.num_prompts, found.num_families) == (300, 30)


def test_an_opinion_that_knows_nothing_gets_little_weight() -> None:
    found = report_of(opinions(0.0))
    assert max(found.weights) <= 0.3
    assert found.difference.low < 0.05


def test_the_smallest_of_equal_weights_is_taken() -> None:
    level = Opinions(UNSURE, np.zeros((300, 3)), np.zeros(3), TRUTH, FAMILIES)
    assert best_weight(level, np.arange(300)) == WEIGHTS[0] == 0
    assert level.combined(0.5) == pytest.approx(UNSURE)


def test_the_sentence_names_the_category() -> None:
    assert sentence("law") == "This is a request about law."
