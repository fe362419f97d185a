"""Calibration: whether confidence equals accuracy, as one number and as the bins of a reliability diagram.

Owns the measure (Guo et al. 2017, equal-width bins). Knows nothing about models.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bin", "Judged", "expected_calibration_error", "reliability"]

Floats = NDArray[np.floating]
NUM_BINS = 15


class Judged(NamedTuple):
    """Of n prompts: the confidence of each, and whether the likeliest category is right; both (n,)."""

    confidence: Floats
    is_right: NDArray[np.bool_]


class Bin(NamedTuple):
    """Prompts of about the same confidence."""

    num_prompts: int
    confidence: float
    accuracy: float


def expected_calibration_error(confidence: Floats, is_right: NDArray[np.bool_]) -> float:
    """Return the mean gap between confidence and accuracy over the bins, weighted by their size."""
    gaps = [bin.num_prompts * abs(bin.confidence - bin.accuracy) for bin in reliability(confidence, is_right)]
    return float(sum(gaps) / len(confidence))


def reliability(confidence: Floats, is_right: NDArray[np.bool_]) -> list[Bin]:
    """Return the bins that hold a prompt, by rising confidence."""
    number = np.minimum((confidence * NUM_BINS).astype(int), NUM_BINS - 1)
    rows = [np.flatnonzero(number == bin) for bin in range(NUM_BINS)]
    return [Bin(len(r), float(confidence[r].mean()), float(is_right[r].mean())) for r in rows if len(r)]
