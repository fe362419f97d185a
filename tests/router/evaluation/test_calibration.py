"""The calibration error and its bins are what their names say."""

from __future__ import annotations

import numpy as np
import pytest

from router.evaluation.calibration import expected_calibration_error, reliability


def test_a_calibrated_classifier_has_no_calibration_error() -> None:
    confidence = np.full(1000, 0.7)
    is_right = np.arange(1000) < 700
    assert expected_calibration_error(confidence, is_right) == pytest.approx(0, abs=1e-9)
    assert expected_calibration_error(np.ones(10), np.zeros(10, bool)) == 1


def test_reliability_bins_hold_every_prompt_once() -> None:
    bins = reliability(np.array([0.0, 0.5, 0.51, 1.0]), np.array([False, True, False, True]))
    assert sum(bin.num_prompts for bin in bins) == 4
    assert bins[-1] == (1, 1.0, 1.0)
