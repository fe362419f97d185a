"""Expected scores undo a classifier's confusions."""

from __future__ import annotations

import numpy as np

from router.mapping_study.expected_scores import fit_expected, regularised


def test_expected_scores_undo_what_a_classifier_mixes_up() -> None:
    """A classifier that is right nine times in ten: the regression finds the true means, a plain average does not."""
    rng = np.random.default_rng(0)
    truth = rng.integers(2, size=20_000)
    probabilities = np.where((truth[:, None] == np.arange(2)), 0.9, 0.1)
    probabilities[rng.random(20_000) < 0.1] = probabilities[rng.random(20_000) < 0.1].mean()
    values = np.where(truth[:, None] == np.arange(2), 0.8, 0.2)
    found = regularised(probabilities, values, 1.0)
    np.testing.assert_allclose(found.of(np.array([[0.9, 0.1]])), [[0.8, 0.2]], atol=0.05)


def test_a_strong_penalty_draws_every_expert_to_the_overall_mean() -> None:
    rng = np.random.default_rng(0)
    probabilities, values = rng.dirichlet(np.ones(3), 100), rng.random((100, 2))
    expected = regularised(probabilities, values, 1e9).of(probabilities)
    np.testing.assert_allclose(expected, np.tile(values.mean(axis=0), (100, 1)), atol=1e-6)
    assert fit_expected(probabilities, values, np.arange(100) % 5).penalty in (3.0, 10.0, 30.0, 100.0)
