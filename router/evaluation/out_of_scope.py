"""Out-of-scope prompts: does doubt tell prompts of no category from in-scope prompts of families never seen?

Owns the length-matched comparison. Out-of-scope prompts are short, so without matching, length alone would tell them
apart: each is paired with an in-scope prompt of about its length, and the AUROC of length itself stands beside the
result. Knows nothing about models.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

__all__ = ["OutOfScopeReport", "ScoredPrompts", "auroc", "compare", "concatenated", "is_personal", "length_matched"]

Floats = NDArray[np.floating]
MAX_RATIO = 1.25  # between the lengths of a pair
PERSONAL = re.compile(r"(?i)\b(i|me|my|mine|we|us|our|you|your)\b")


@dataclass(frozen=True, slots=True)
class ScoredPrompts:
    """Prompts by length, confidence and whether the abstain rule is sure; every array is (n,)."""

    lengths: NDArray[np.integer]  # characters
    confidence: Floats
    is_sure: NDArray[np.bool_]

    def take(self, rows: Sequence[int]) -> ScoredPrompts:
        """Return some of them."""
        chosen = list(rows)
        return ScoredPrompts(self.lengths[chosen], self.confidence[chosen], self.is_sure[chosen])


@dataclass(frozen=True, slots=True)
class OutOfScopeReport:
    """AUROC of each score over pairs of like length, and of length itself; shares that abstain."""

    num_pairs: int
    confidence_auroc: float
    length_auroc: float
    abstained_inside: float
    abstained_outside: float


def compare(in_scope: ScoredPrompts, out_of_scope: ScoredPrompts) -> OutOfScopeReport:
    """Return the report over pairs, row by row."""
    return OutOfScopeReport(
        len(in_scope.lengths),
        auroc(in_scope.confidence, out_of_scope.confidence),
        auroc(in_scope.lengths, out_of_scope.lengths),
        float((~in_scope.is_sure).mean()),
        float((~out_of_scope.is_sure).mean()),
    )


def auroc(in_scope: NDArray[np.number], out_of_scope: NDArray[np.number]) -> float:
    """Return the chance that a random in-scope value is above a random out-of-scope one."""
    labels = np.r_[np.ones(len(in_scope)), np.zeros(len(out_of_scope))]
    return float(roc_auc_score(labels, np.r_[in_scope, out_of_scope]))


def length_matched(in_scope: Sequence[int], out_of_scope: Sequence[int], seed: int = 0) -> list[tuple[int, int]]:
    """Return pairs (in-scope row, out-of-scope row), each row at most once, lengths within a quarter of each other."""
    free = dict(enumerate(in_scope))
    order = np.random.default_rng(seed).permutation(len(out_of_scope)).tolist()
    pairs = []
    for row in order:
        nearest = min(free, key=lambda other: (abs(free[other] - out_of_scope[row]), other), default=None)
        if nearest is None:
            break
        low, high = sorted((free[nearest], out_of_scope[row]))
        if high <= MAX_RATIO * low:
            pairs.append((nearest, row))
            del free[nearest]
    return pairs


def concatenated(each: Sequence[ScoredPrompts]) -> ScoredPrompts:
    """Return all prompts as one."""
    return ScoredPrompts(
        np.concatenate([scored.lengths for scored in each]),
        np.concatenate([scored.confidence for scored in each]),
        np.concatenate([scored.is_sure for scored in each]),
    )


def is_personal(text: str) -> bool:
    """Return whether a request is about the asker's own things; plain general knowledge is the general expert's."""
    return bool(PERSONAL.search(text))
