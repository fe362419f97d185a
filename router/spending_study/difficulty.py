"""A prompt's difficulty: the chance that each expert is right on it, beyond what its category says.

Owns ridge regressions, over the prompt's vector and its surface, of what category probabilities leave of the scores:
one of what all experts share, one of what each deviates from it. Penalties are chosen out of fold by squared error, and
"no correction" is among the choices. Pure. Knows nothing about
files, encoders or budgets.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from router.mapping_study.expected_scores import fit_expected
from router.mapping_study.half_split import HalfSplit, StudyData, folds_of

__all__ = ["Chances", "chances_of", "surface", "within_category_auroc"]

Floats = NDArray[np.floating]
PENALTIES = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, np.inf)  # infinity: no correction
SMALLEST = 0.02  # of a chance, and of its complement
RIGHT = 0.5  # a score from which on an answer counts as right
MIN_OF_EACH = 5  # right and wrong answers that a category needs to be ranked


class Chances(NamedTuple):
    """Expected scores of the judged prompts, (prompts, experts): by category probabilities, and with difficulty."""

    by_category: Floats
    with_difficulty: Floats
    shared_penalty: float
    own_penalty: float


class Correction(NamedTuple):
    """A linear correction of expected scores: from (prompts, features) to (prompts, experts)."""

    centre: Floats
    scale: Floats
    slopes: Floats

    def of(self, features: Floats) -> Floats:
        found: Floats = ((features - self.centre) / self.scale) @ self.slopes
        return found


def surface(prompts: Sequence[str]) -> Floats:
    """Return (prompts, 4): log length, share of digits, share of letters beyond ASCII, log of the number of lines."""
    rows = [
        (
            np.log1p(len(text)),
            len(re.findall(r"\d", text)) / max(len(text), 1),
            sum(not char.isascii() for char in text) / max(len(text), 1),
            np.log1p(text.count("\n")),
        )
        for text in prompts
    ]
    return np.array(rows)


def chances_of(data: StudyData, features: Floats, split: HalfSplit, seed: int) -> Chances:
    """Return the expected scores of the judged half, all learned on the other half; `features` are (prompts, dims)."""
    folds = folds_of(data.groups[split.learn], seed)
    values = data.table.values[split.learn]
    expected = fit_expected(split.learn_probabilities, values, folds)
    left = values - expected.of(split.learn_probabilities)
    shared = left.mean(axis=1, keepdims=True)
    found = expected.of(split.judge_probabilities)
    shift, shift_penalty = predicted(features, shared, split, folds)
    own, own_penalty = predicted(features, left - shared, split, folds)
    return Chances(found, shifted(found + own, shift), shift_penalty, own_penalty)


def predicted(features: Floats, left: Floats, split: HalfSplit, folds: NDArray[np.integer]) -> tuple[Floats, float]:
    """Return what is left of the judged half's scores, learned on the other half, and the penalty."""
    penalty = best_penalty(features[split.learn], left, folds)
    if np.isinf(penalty):
        return np.zeros((len(split.judge), left.shape[1])), penalty
    return corrections(features[split.learn], left, [penalty])[0].of(features[split.judge]), penalty


def shifted(expected: Floats, shift: Floats) -> Floats:
    """Return chances moved by a prompt's difficulty in log odds, by as much as moves the mean chance by `shift`.

    So difficulty matters most to experts that might be right or wrong, as in Rasch's model (1960).
    """
    chances = np.clip(expected, SMALLEST, 1 - SMALLEST)
    found: Floats = expit(logit(chances) + shift / (chances * (1 - chances)).mean(axis=1, keepdims=True))
    return found


def best_penalty(features: Floats, left: Floats, folds: NDArray[np.integer]) -> float:
    """Return the penalty with the least squared error on folds left out; of equals the largest."""
    errors = np.zeros(len(PENALTIES))
    for fold in np.unique(folds):
        held = folds == fold
        fitted = corrections(features[~held], left[~held], PENALTIES[:-1])
        errors[:-1] += [float(((left[held] - each.of(features[held])) ** 2).sum()) for each in fitted]
        errors[-1] += float((left[held] ** 2).sum())
    return min(zip(errors.tolist(), PENALTIES, strict=True), key=lambda pair: (pair[0], -pair[1]))[1]


def corrections(features: Floats, left: Floats, penalties: Sequence[float]) -> list[Correction]:
    """Return the ridge regression of what is left on standardised features, for each penalty per feature."""
    centre, scale = features.mean(axis=0), features.std(axis=0) + 1e-9
    standard = (features - centre) / scale
    values, vectors = np.linalg.eigh(standard.T @ standard)
    target = vectors.T @ (standard.T @ left)
    return [
        Correction(centre, scale, vectors @ (target / (np.maximum(values, 0) + penalty * len(centre))[:, None]))
        for penalty in penalties
    ]


def within_category_auroc(chances: Floats, scores: Floats, categories: NDArray[np.str_]) -> float | None:
    """Return how well chances rank right above wrong answers of the same category; None where nothing can be ranked.

    All are (prompts,). Categories weigh by their pairs of a right and a wrong answer; those with fewer than five of
    either are left out.
    """
    from sklearn.metrics import roc_auc_score

    found, pairs = [], []
    for category in np.unique(categories):
        mine = categories == category
        right = scores[mine] >= RIGHT
        if min(right.sum(), (~right).sum()) >= MIN_OF_EACH:
            found.append(roc_auc_score(right, chances[mine]))
            pairs.append(int(right.sum()) * int((~right).sum()))
    return float(np.average(found, weights=pairs)) if found else None
