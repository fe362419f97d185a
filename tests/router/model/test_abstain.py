"""At most the target share abstains, and thresholds lie where they can."""

from __future__ import annotations

import numpy as np
import pytest

from router.model.abstain import AbstainRule, fit_abstain


def test_at_most_the_target_share_abstains() -> None:
    rng = np.random.default_rng(0)
    confidence, similarity = rng.random(1000), rng.random(1000)
    for target in (0.0, 0.01, 0.05, 0.3):
        rule = fit_abstain(confidence, similarity, target)
        num_abstained = int((~rule.is_sure(confidence, similarity)).sum())
        assert target * 1000 - 2 <= num_abstained <= target * 1000


@pytest.mark.parametrize("confidence", [-0.1, 1.5, float("nan")])
def test_a_threshold_outside_zero_to_one_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="must lie in 0 to 1"):
        AbstainRule(confidence, 0)
