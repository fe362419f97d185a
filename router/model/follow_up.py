"""Follow-ups: how likely a turn needs the one before it to be understood.

Owns the score, a logistic regression over the turn's embedding and its cosine to the turn before. "An example, please"
looks like a follow-up by itself; "and with 12 % interest?" by its nearness to a question about a loan. Knows nothing
about categories or experts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from router.model.centre import around

__all__ = ["FollowUpModel"]

Floats = NDArray[np.floating]
COSINE_SCALE = 2.0  # of the cosine among the features, whose other values are below 1


@dataclass(frozen=True, slots=True)
class FollowUpModel:
    """The chance that the second of two user turns needs the first."""

    centre: Floats  # (hidden,)
    coef: Floats  # (hidden + 1,), the cosine's last
    intercept: float

    def chances(self, first: Floats, second: Floats) -> Floats:
        """Return (n,) from (n, hidden) embeddings of whole turns; a first turn that is unknown is a row of zeros."""
        found: Floats = expit(self.features(first, second) @ self.coef + self.intercept)
        return found

    def features(self, first: Floats, second: Floats) -> Floats:
        """Return (n, hidden + 1)."""
        turns = around(second, self.centre)
        is_known = np.abs(first).max(axis=1) > 0
        cosines = np.where(is_known, (around(first, self.centre) * turns).sum(axis=1), 0.0)
        return np.concatenate([turns, COSINE_SCALE * cosines[:, None]], axis=1)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return what `from_arrays` reads."""
        return {
            "follow_up_centre": self.centre.astype(np.float32),
            "follow_up_coef": self.coef.astype(np.float32),
            "follow_up_intercept": np.array([self.intercept], np.float32),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Self:
        """Return the model that these arrays hold; raises KeyError where they hold none."""
        intercept = float(arrays["follow_up_intercept"].astype(np.float32)[0])
        return cls(
            arrays["follow_up_centre"].astype(np.float32), arrays["follow_up_coef"].astype(np.float32), intercept
        )
