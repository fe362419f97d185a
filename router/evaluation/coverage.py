"""Coverage against accuracy: how right a router is on the prompts that it is surest of.

Owns the points and the area under the risk-coverage curve (Geifman and El-Yaniv 2017). Pure arithmetic. Knows nothing
about models or prompts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from router.evaluation.calibration import Judged

__all__ = ["Coverage", "CoveragePoint", "coverage_of"]

SHARES = (1.0, 0.9, 0.8, 0.7, 0.5)


@dataclass(frozen=True, slots=True)
class CoveragePoint:
    """The surest share of the prompts, and how many of them are right."""

    coverage: float
    accuracy: float
    min_confidence: float


@dataclass(frozen=True, slots=True)
class Coverage:
    """Points by falling coverage; `aurc` is the mean risk over all coverages, 0 where nothing is wrong."""

    points: tuple[CoveragePoint, ...]
    aurc: float


def coverage_of(judged: Judged) -> Coverage:
    """Return the curve of one prompt or more; of equal confidences the earlier prompt counts as surer."""
    order = np.argsort(-judged.confidence, kind="stable")
    right = np.cumsum(judged.is_right[order])
    accuracy = right / np.arange(1, len(order) + 1)
    counts = [max(1, round(share * len(order))) for share in SHARES]
    points = (
        CoveragePoint(share, float(accuracy[count - 1]), float(judged.confidence[order[count - 1]]))
        for share, count in zip(SHARES, counts, strict=True)
    )
    return Coverage(tuple(points), float((1 - accuracy).mean()))
