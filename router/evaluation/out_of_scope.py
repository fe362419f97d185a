"""Does doubt tell prompts that are none of the categories' from in-domain prompts of sources never seen?

Owns the length-matched comparison: out-of-scope prompts are short, so without matching, length alone would win. Each
outsider is paired with an in-domain prompt of about its length; the AUROC of length itself stands beside the result.
Knows nothing about models.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

__all__ = ["Doubted", "OutOfScopeReport", "auroc", "compare", "is_personal", "length_matched", "together"]

Floats = NDArray[np.floating]
MAX_RATIO = 1.25  # between the lengths of a pair
PERSONAL = re.compile(r"(?i)\b(i|me|my|mine|we|us|our|you|your)\b")


@dataclass(frozen=True, slots=True)
class OutOfScopeReport:
    """AUROC of each score over pairs of like length, and of length itself."""

    num_pairs: int
    confidence_auroc: float
    similarity_auroc: float
    length_auroc: float
    abstained_inside: float
    abstained_outside: float


def auroc(inside: NDArray[np.number], outside: NDArray[np.number]) -> float:
    """Return the chance that a random in-domain value is above a random out-of-scope one."""
    labels = np.r_[np.ones(len(inside)), np.zeros(len(outside))]
    return float(roc_auc_score(labels, np.r_[inside, outside]))


def length_matched(inside: Sequence[int], outside: Sequence[int], seed: int = 0) -> list[tuple[int, int]]:
    """Return pairs (inside row, outside row), each row at most once, lengths within a quarter of each other."""
    free = dict(enumerate(inside))
    order = np.random.default_rng(seed).permutation(len(outside)).tolist()
    pairs = []
    for row in order:
        nearest = min(free, key=lambda other: (abs(free[other] - outside[row]), other), default=None)
        if nearest is None:
            break
        low, high = sorted((free[nearest], outside[row]))
        if high <= MAX_RATIO * low:
            pairs.append((nearest, row))
            del free[nearest]
    return pairs


@dataclass(frozen=True, slots=True)
class Doubted:
    """Prompts and what doubt says about them; every array is (n,)."""

    lengths: NDArray[np.integer]  # characters
    confidence: Floats
    similarity: Floats
    is_sure: NDArray[np.bool_]

    def take(self, rows: Sequence[int]) -> Doubted:
        """Return some of them."""
        chosen = list(rows)
        return Doubted(self.lengths[chosen], self.confidence[chosen], self.similarity[chosen], self.is_sure[chosen])


def together(parts: Sequence[Doubted]) -> Doubted:
    """Return all parts as one."""
    return Doubted(
        np.concatenate([part.lengths for part in parts]),
        np.concatenate([part.confidence for part in parts]),
        np.concatenate([part.similarity for part in parts]),
        np.concatenate([part.is_sure for part in parts]),
    )


def compare(inside: Doubted, outside: Doubted) -> OutOfScopeReport:
    """Return the report over pairs of like length, row by row."""
    return OutOfScopeReport(
        len(inside.lengths),
        auroc(inside.confidence, outside.confidence),
        auroc(inside.similarity, outside.similarity),
        auroc(inside.lengths, outside.lengths),
        float((~inside.is_sure).mean()),
        float((~outside.is_sure).mean()),
    )


def is_personal(text: str) -> bool:
    """True of a request about the asker's own things: not plain general knowledge, which a general expert answers."""
    return bool(PERSONAL.search(text))
