"""Half-splits: one half of the prompts to learn from, one to judge on, each with a router's category probabilities.

Near-duplicates never straddle a split. The classifier of categories is chosen on the learning half alone, by accuracy
out of fold, and a mapping is learned from its out-of-fold labels, so that frequencies and scores are those that a
router will see. Pure: no files, no clock; the same seed gives the same split. Knows nothing about encoders.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.neighbors import KNeighborsClassifier

from router.mapping_study.gaussian import SharedGaussian
from router.mapping_study.score_table import Cost, ScoreTable
from router.training.classifier import fit_temperature

__all__ = [
    "HalfSplit",
    "StudyData",
    "check_balance",
    "folds_of",
    "half_split",
    "halves",
    "neighbours",
    "small_categories",
]

Floats = NDArray[np.floating]
Rows = NDArray[np.integer]
NUM_FOLDS = 5
NUM_NEIGHBOURS = 15
MIN_PER_CATEGORY = 10
SMALLEST = 1e-12
BOTH = "neighbours and linear"


def neighbours(num_rows: int) -> Any:
    return KNeighborsClassifier(min(NUM_NEIGHBOURS, num_rows), weights="distance", metric="cosine", algorithm="brute")


CLASSIFIERS: Mapping[str, Callable[[int], Any]] = {  # from the number of rows to fit on
    "neighbours": neighbours,
    "linear, shrinkage 0.03": lambda _: SharedGaussian(shrinkage=0.03),
    "linear, shrinkage 0.1": lambda _: SharedGaussian(shrinkage=0.1),
    "linear, shrinkage 0.3": lambda _: SharedGaussian(shrinkage=0.3),
}


class StudyData(NamedTuple):
    """A score table without holes, the vectors of its prompts and the costs of its experts."""

    table: ScoreTable
    vectors: Floats  # (prompts, dims)
    groups: Rows  # (prompts,) near-duplicates share a number
    costs: Mapping[str, Cost]

    def rows(self, rows: NDArray[np.integer]) -> StudyData:
        """Return some rows."""
        return StudyData(self.table.rows(rows), self.vectors[rows], self.groups[rows], self.costs)

    @property
    def active_b(self) -> Floats:
        return np.array([self.costs[expert].active_b for expert in self.table.experts])

    @property
    def truth(self) -> NDArray[np.str_]:
        return np.array(self.table.categories)


def num_distinct(data: StudyData) -> dict[str, int]:
    """Return how many prompts each category has, near-duplicates counted once."""
    distinct = set(zip(data.table.categories, data.groups.tolist(), strict=True))
    names, counts = np.unique([name for name, _ in distinct], return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def small_categories(data: StudyData) -> dict[str, int]:
    """Return the categories with too few distinct prompts to be halved and cross-validated, and how many they have."""
    return {name: count for name, count in num_distinct(data).items() if count < MIN_PER_CATEGORY}


def check_balance(data: StudyData) -> None:
    """Raises ValueError unless the table can be halved and cross-validated."""
    names = list(num_distinct(data))
    if len(names) < 2:
        raise ValueError(f"categories {names}: a study needs two or more")
    for name, count in small_categories(data).items():
        raise ValueError(
            f"category '{name}' has {count} distinct prompt(s), near-duplicates counted once: a study halves and "
            f"cross-validates them, so at least {MIN_PER_CATEGORY} are needed; score more, or leave such categories "
            f"out with --skip-small"
        )


class HalfSplit(NamedTuple):
    """The rows to learn from and to judge on, with a classifier's probabilities of both, (rows, categories).

    `learn_probabilities` are out of fold: each is from a model that saw neither the prompt nor a near-duplicate.
    """

    learn: Rows
    judge: Rows
    categories: NDArray[np.str_]
    classifier: str
    learn_probabilities: Floats
    judge_probabilities: Floats

    @property
    def learn_labels(self) -> NDArray[np.str_]:
        labels: NDArray[np.str_] = self.categories[self.learn_probabilities.argmax(axis=1)]
        return labels

    @property
    def judge_labels(self) -> NDArray[np.str_]:
        labels: NDArray[np.str_] = self.categories[self.judge_probabilities.argmax(axis=1)]
        return labels


class Pair(NamedTuple):
    """Category probabilities of the learning half, out of fold, and of the judged half."""

    learn: Floats
    judge: Floats


class Halves(NamedTuple):
    """The rows to learn from and the rows to judge on."""

    learn: Rows
    judge: Rows


def halves(groups: Rows, seed: int) -> Halves:
    """Return seeded halves of about the same size; a group is in one of them."""
    members = np.unique(groups, return_inverse=True)[1]
    order = np.random.default_rng(seed).permutation(members.max() + 1)
    filled = np.cumsum(np.bincount(members)[order])
    is_learned = np.isin(members, order[: np.searchsorted(filled, len(groups) / 2) + 1])
    return Halves(np.flatnonzero(is_learned), np.flatnonzero(~is_learned))


def folds_of(groups: Rows, seed: int, num_folds: int = NUM_FOLDS) -> Rows:
    """Return each row's fold; a group is in one fold."""
    members = np.unique(groups, return_inverse=True)[1]
    fold: Rows = np.random.default_rng(seed).permutation(members.max() + 1)[members] % num_folds
    return fold


def half_split(data: StudyData, seed: int) -> HalfSplit:
    """Return a seeded split with the probabilities of the classifier that is best out of fold on the learning half.

    Candidates: neighbours, the best linear one with a temperature fitted out of fold, and the mean of both.
    """
    learn, judge = halves(data.groups, seed)
    categories = np.unique(data.truth)
    truth = np.searchsorted(categories, data.truth[learn])
    held_out = {name: out_of_fold(data, learn, categories, make, seed) for name, make in CLASSIFIERS.items()}
    linear = max(list(held_out)[1:], key=lambda name: accuracy(held_out[name], truth))
    judged = {n: probabilities(CLASSIFIERS[n], data, learn, judge, categories) for n in ("neighbours", linear)}
    pairs = {
        "neighbours": Pair(held_out["neighbours"], judged["neighbours"]),
        linear: calibrated(held_out[linear], judged[linear], truth),
    }
    pairs[BOTH] = Pair(*(sum(both) / len(pairs) for both in zip(*pairs.values(), strict=True)))
    best = max(pairs, key=lambda name: accuracy(pairs[name].learn, truth))
    return HalfSplit(learn, judge, categories, best, *pairs[best])


def accuracy(found: Floats, truth: Rows) -> float:
    return float((found.argmax(axis=1) == truth).mean())


def calibrated(learn: Floats, judge: Floats, truth: Rows) -> Pair:
    """Return both at the temperature that fits the learning half's out-of-fold probabilities."""
    logs = [np.log(np.maximum(found, SMALLEST)) for found in (learn, judge)]
    temperature = fit_temperature(logs[0], truth)
    return Pair(*(softmax(log / temperature, axis=1) for log in logs))


def out_of_fold(
    data: StudyData, rows: Rows, categories: NDArray[np.str_], make: Callable[[int], Any], seed: int
) -> Floats:
    """Return (rows, categories) probabilities, each from a model fitted on the other folds."""
    found = np.zeros((len(rows), len(categories)))
    folds = folds_of(data.groups[rows], seed)
    for fold in np.unique(folds):
        held = folds == fold
        found[held] = probabilities(make, data, rows[~held], rows[held], categories)
    return found


def probabilities(
    make: Callable[[int], Any], data: StudyData, fit: Rows, ask: Rows, categories: NDArray[np.str_]
) -> Floats:
    """Return (ask, categories) probabilities of a model fitted on some rows; a category it never saw has none."""
    model = make(len(fit)).fit(data.vectors[fit], data.truth[fit])
    found = np.zeros((len(ask), len(categories)))
    found[:, np.searchsorted(categories, model.classes_)] = model.predict_proba(data.vectors[ask])
    return found
