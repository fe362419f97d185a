"""Intervals: Wilson's is scipy's; the bootstrap is seeded and knows groups."""

from __future__ import annotations

import numpy as np
import pytest

from router.mapping_study.intervals import paired_bootstrap, wilson


def test_wilson_agrees_with_scipy() -> None:
    from scipy.stats import binomtest

    low, high = wilson(np.array([0.3]), np.array([50]))
    expected = binomtest(15, 50).proportion_ci(method="wilson")
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high))


def test_the_bootstrap_is_seeded_and_sees_a_difference() -> None:
    differences = np.random.default_rng(1).normal(0.1, 0.2, 500)
    assert paired_bootstrap(differences) == paired_bootstrap(differences)
    assert paired_bootstrap(differences) != paired_bootstrap(differences, seed=1)
    assert paired_bootstrap(differences).p < 0.01 < paired_bootstrap(-differences).p
    assert paired_bootstrap(differences, margin=0.2).p > 0.99


def test_prompts_of_one_group_are_no_independent_evidence() -> None:
    differences = np.random.default_rng(2).normal(0.0, 1.0, 50)
    copies, groups = np.repeat(differences, 20), np.repeat(np.arange(50), 20)
    alone, together = paired_bootstrap(differences), paired_bootstrap(copies, groups)
    assert together.high - together.low == pytest.approx(alone.high - alone.low, rel=0.05)
    assert paired_bootstrap(copies).high - paired_bootstrap(copies).low < (alone.high - alone.low) / 3
