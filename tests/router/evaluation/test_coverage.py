"""Coverage against accuracy: the curve of known confidences."""

from __future__ import annotations

import numpy as np
import pytest

from router.evaluation.calibration import Judged
from router.evaluation.coverage import coverage_of


def test_the_surest_prompts_are_judged_first() -> None:
    confidence = np.linspace(0.05, 0.95, 10)
    found = coverage_of(Judged(confidence, confidence > 0.3))
    assert [point.coverage for point in found.points] == [1.0, 0.9, 0.8, 0.7, 0.5]
    assert [point.accuracy for point in found.points] == pytest.approx([0.7, 7 / 9, 7 / 8, 1, 1])
    assert found.points[-1].min_confidence == pytest.approx(0.55)
    assert found.aurc == pytest.approx(np.mean([*[0] * 7, 1 / 8, 2 / 9, 3 / 10]))


def test_one_prompt_has_a_curve_and_rightness_everywhere_no_risk() -> None:
    found = coverage_of(Judged(np.array([0.4]), np.array([True])))
    assert found.aurc == 0
    assert {point.accuracy for point in found.points} == {1.0}
