"""Abstaining: how likely the likeliest category is right, and when that is too little.

Owns the confidence, a logistic regression over what the probabilities and the text show (Platt scaling with more than
one input), and its threshold. Knows nothing about prompts, experts or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr, expit, logit

__all__ = ["PLAIN", "AbstainRule", "features_of"]

Floats = NDArray[np.floating]
PLAIN = (1.0, 0.0, 0.0, 0.0, 0.0)  # confidence is the probability of the likeliest category
FEATURE_CHARS = 400  # of a text, read for its script
CERTAIN = 1e-4  # probabilities this near to 0 and 1 count as this


@dataclass(frozen=True, slots=True)
class AbstainRule:
    """Sure means: a confidence of at least `min_confidence`.

    Confidence is the logistic function of `intercept` plus `coef` times the features of a text and its probabilities.
    """

    min_confidence: float
    coef: tuple[float, ...] = PLAIN
    intercept: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_confidence <= 1.0:
            raise ValueError(f"min_confidence {self.min_confidence}: must lie in 0 to 1; 0 never abstains for doubt")
        if len(self.coef) != len(PLAIN):
            raise ValueError(f"abstain: {len(self.coef)} coefficients, and there are {len(PLAIN)} features")

    def confidence(self, probabilities: Floats, texts: Sequence[str]) -> Floats:
        """Return (n,): the estimated chance that the likeliest of (n, categories) is right."""
        if self.coef == PLAIN and not self.intercept:
            plain: Floats = probabilities.max(axis=1)
            return plain
        chance: Floats = expit(features_of(probabilities, texts) @ np.array(self.coef) + self.intercept)
        return chance

    def is_sure(self, confidence: Floats) -> NDArray[np.bool_]:
        """Return (n,) bool from (n,); a NaN is never sure."""
        return confidence >= self.min_confidence

    def doubt(self, confidence: float) -> str:
        """Return by how much a prompt misses the threshold; "" where the rule is sure."""
        if confidence >= self.min_confidence:
            return ""
        return f"confidence {confidence:.3f} is below {self.min_confidence:.3f}"


def features_of(probabilities: Floats, texts: Sequence[str]) -> Floats:
    """Return (n, 5): log odds of the likeliest, its lead, entropy, log of the length, share of non-ASCII characters."""
    ordered = np.sort(probabilities.astype(np.float64), axis=1)
    beginnings = [text[:FEATURE_CHARS] for text in texts]
    return np.stack(
        [
            logit(np.clip(ordered[:, -1], CERTAIN, 1 - CERTAIN)),
            ordered[:, -1] - ordered[:, -2],
            entr(ordered).sum(axis=1),
            np.log([max(1, len(text)) for text in texts]),
            [sum(ord(letter) > 127 for letter in text) / max(1, len(text)) for text in beginnings],
        ],
        axis=1,
    )
