"""The abstain rule: too little confidence, or a prompt unlike the training prompts, and the router is not sure.

Owns the rule and how its thresholds follow from a target rate. Knows nothing about prompts, experts or files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["AbstainRule", "fit_abstain"]

Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class AbstainRule:
    """Sure means: confidence at least `min_confidence` and similarity to training prompts at least `min_similarity`."""

    min_confidence: float
    min_similarity: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_confidence <= 1.0:
            raise ValueError(f"min_confidence {self.min_confidence}: must lie in 0 to 1; 0 never abstains for doubt")

    def is_sure(self, confidence: Floats, similarity: Floats) -> NDArray[np.bool_]:
        """Return (n,) bool from (n,) and (n,); a NaN is never sure."""
        return (confidence >= self.min_confidence) & (similarity >= self.min_similarity)

    def doubt(self, confidence: float, similarity: float) -> str:
        """Return the threshold that a prompt misses, and by how much; "" where the rule is sure."""
        if not confidence >= self.min_confidence:
            return f"confidence {confidence:.3f} is below {self.min_confidence:.3f}"
        if not similarity >= self.min_similarity:
            return f"similarity {similarity:.3f} to the training prompts is below {self.min_similarity:.3f}"
        return ""


def fit_abstain(confidence: Floats, similarity: Floats, target_rate: float) -> AbstainRule:
    """Return the strictest rule under which at most `target_rate` of these in-domain prompts abstain.

    The similarity threshold may use a fifth of the rate, confidence the rest. The values must be out of fold: those of
    prompts that a classifier was fitted on are too good.
    """
    if not 0.0 <= target_rate < 1.0:
        raise ValueError(f"target_rate {target_rate}: must lie in 0 to 1, 1 excluded; 0.05 is a start")
    min_similarity = lower_quantile(similarity, target_rate / 5)
    kept = similarity >= min_similarity
    spent = 1.0 - float(kept.mean())
    remaining = max(0.0, target_rate - spent) / max(1.0 - spent, 1e-12)
    return AbstainRule(lower_quantile(confidence[kept], remaining), min_similarity)


def lower_quantile(values: Floats, rate: float) -> float:
    """Return the largest value below which at most `rate` of the values lie."""
    ordered = np.sort(values)
    return float(ordered[int(np.floor(rate * len(ordered)))])
