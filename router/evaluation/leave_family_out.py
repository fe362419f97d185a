"""Leave families out: what a recipe does on families that its models have never seen.

Owns the protocol of `router_folds.json`: train without a family, judge on it, average over topics. A few families of
other topics are left out with it, so that a hundred folds need twenty models. Between recipes no fold is its own judge:
each fold takes the recipe that did best on all others. Covered: no classifier, term list or self-made label has seen
the family or a near-duplicate of its rows. Not covered: temperature and thresholds come from out-of-fold scores of the
other rows, whose models did see it.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from router.evaluation.calibration import Judged, expected_calibration_error
from router.evaluation.out_of_scope import OutOfScopeReport, ScoredPrompts, compare, concatenated, length_matched
from router.model.category_model import CategoryModel
from router.training.fitting import family_weights, fit_model, fit_tf_idf, fit_vectors
from router.training.out_of_fold import Calibration, calibrate, held_out
from router.training.recipe import Recipe
from router.training.training_set import TrainingSet

__all__ = [
    "Fold",
    "FoldReport",
    "LeftOut",
    "OutOfScopePrompts",
    "chosen_by_others",
    "fold_accuracies",
    "leave_family_out",
    "mean_over_topics",
    "out_of_scope_report",
    "pooled",
    "summarise",
]

log = logging.getLogger(__name__)
Floats = NDArray[np.floating]
COVERAGE = 0.8


class Fold(NamedTuple):
    """A family that is judged on its rows of one topic. `table` is what folds are reported by."""

    topic: str
    family: str
    table: str = ""


class OutOfScopePrompts(NamedTuple):
    """Prompts that belong to no category."""

    texts: tuple[str, ...]
    vectors: Floats


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Scores of a family's rows, and of out-of-scope prompts, by a model that never saw the family."""

    fold: Fold
    in_scope: ScoredPrompts
    is_right: NDArray[np.bool_]
    out_of_scope: ScoredPrompts | None = None

    @property
    def is_right_with_abstaining(self) -> NDArray[np.bool_]:
        """Abstaining sends a prompt to the general expert: right for `general`, wrong for all others."""
        is_sure = self.in_scope.is_sure
        return (self.is_right | ~is_sure) if self.fold.topic == "general" else (self.is_right & is_sure)


@dataclass(frozen=True, slots=True)
class FoldReport:
    """`score` is the mean over topics of the mean over that topic's folds, abstaining not counted."""

    score: float
    score_with_abstaining: float  # an abstention is right for `general`, wrong for all others
    selective_accuracy: float  # of the 80 % of left-out prompts with the highest confidence
    ece: float
    abstained: float  # share of left-out prompts, `general` aside, that abstain
    topics: Mapping[str, float]
    folds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class FittedFold:
    """A model with the calibration that it would ship with."""

    model: CategoryModel
    calibration: Calibration

    def scored(self, logits: Floats, texts: Sequence[str]) -> ScoredPrompts:
        """Return the scores of n texts with their (n, categories) logits."""
        rule = self.calibration.rule
        confidence = rule.confidence(softmax(logits / self.calibration.temperature, axis=1), texts)
        return ScoredPrompts(np.array([len(text) for text in texts]), confidence, rule.is_sure(confidence))


def leave_family_out(
    training_set: TrainingSet,
    folds: Sequence[Fold],
    recipe: Recipe,
    out_of_scope: OutOfScopePrompts | None = None,
) -> list[LeftOut]:
    """Judge a recipe on each family, by a model without it."""
    scores = held_out(training_set, recipe)
    batches = batches_of(folds)
    found: dict[Fold, LeftOut] = {}
    for number, batch in enumerate(batches, 1):
        log.info("model %d of %d: without %s", number, len(batches), ", ".join(sorted({fold.family for fold in batch})))
        is_held = np.isin(training_set.families, [fold.family for fold in batch])
        rest = training_set.take(rest_of(training_set, is_held))
        calibration = calibrate(training_set, scores.without(is_held), recipe)
        fitted = FittedFold(fit_model(rest, recipe), calibration)
        others = None
        if out_of_scope is not None:
            others = fitted.scored(fitted.model.logits(out_of_scope.vectors, out_of_scope.texts), out_of_scope.texts)
        found |= {fold: left_out(training_set, fold, fitted, others) for fold in batch}
    return [found[fold] for fold in folds]


def left_out(training_set: TrainingSet, fold: Fold, fitted: FittedFold, others: ScoredPrompts | None) -> LeftOut:
    """Judge a model on the rows of one fold."""
    label = training_set.categories.index(fold.topic)
    held = training_set.take(rows_of(training_set, fold))
    logits = fitted.model.logits_of(held.vectors, held.term_counts)
    in_scope = fitted.scored(logits, [prompt.text for prompt in held.prompts])
    return LeftOut(fold, in_scope, logits.argmax(axis=1) == label, others)


def rows_of(training_set: TrainingSet, fold: Fold) -> NDArray[np.intp]:
    """Return the rows of a fold."""
    label = training_set.categories.index(fold.topic)
    return np.flatnonzero((training_set.families == fold.family) & (training_set.labels == label))


def rest_of(training_set: TrainingSet, is_held: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the rows that are neither held nor near-duplicates of such a row."""
    return np.flatnonzero(~is_held & ~np.isin(training_set.groups, np.unique(training_set.groups[is_held])))


def batches_of(folds: Sequence[Fold]) -> list[list[Fold]]:
    """Return folds that are left out together: never two families of one topic, all topics of a family at once."""
    by_family: dict[str, list[Fold]] = defaultdict(list)
    for fold in folds:
        by_family[fold.family].append(fold)
    batches: list[list[Fold]] = []
    for family in sorted(by_family.values(), key=len, reverse=True):
        topics = {fold.topic for fold in family}
        free = (batch for batch in batches if topics.isdisjoint(fold.topic for fold in batch))
        if batch := next(free, None):
            batch.extend(family)
        else:
            batches.append(list(family))
    return batches


def fold_accuracies(training_set: TrainingSet, folds: Sequence[Fold], recipes: Sequence[Recipe]) -> NDArray[np.float64]:
    """Return (recipes, folds): the accuracy of each recipe on each family that was left out."""
    found: dict[Fold, list[float]] = {}
    for batch in batches_of(folds):
        found |= accuracies_on(training_set, batch, recipes)
    return np.array([found[fold] for fold in folds]).T


def accuracies_on(
    training_set: TrainingSet, batch: Sequence[Fold], recipes: Sequence[Recipe]
) -> dict[Fold, list[float]]:
    """Return each recipe's accuracy on each fold of a batch; what recipes have in common is fitted once."""
    rest = training_set.take(rest_of(training_set, np.isin(training_set.families, [fold.family for fold in batch])))
    held = {fold: training_set.take(rows_of(training_set, fold)) for fold in batch}
    fitted: dict[Recipe | float, dict[Fold, Floats]] = {}
    found: dict[Fold, list[float]] = {fold: [] for fold in batch}
    for recipe in recipes:
        weights, of_vectors = family_weights(rest, recipe), replace(recipe, tf_idf_weight=0.0)
        if of_vectors not in fitted:
            model = fit_vectors(rest, weights, recipe)
            fitted[of_vectors] = {fold: model.logits_of(rows.vectors, rows.term_counts) for fold, rows in held.items()}
        if recipe.tf_idf_weight and recipe.tf_idf_penalty not in fitted:
            terms = fit_tf_idf(rest, weights, recipe)
            fitted[recipe.tf_idf_penalty] = {fold: terms.logits_of(rows.term_counts) for fold, rows in held.items()}
        for fold in batch:
            logits = fitted[of_vectors][fold]
            if recipe.tf_idf_weight:
                logits = logits + recipe.tf_idf_weight * fitted[recipe.tf_idf_penalty][fold]
            found[fold].append(float((logits.argmax(axis=1) == training_set.categories.index(fold.topic)).mean()))
    return found


def chosen_by_others(accuracies: NDArray[np.float64], topics: Sequence[str]) -> NDArray[np.float64]:
    """Return (folds,): each fold's accuracy under the recipe with the best score over all other folds.

    `accuracies` is (recipes, folds), `topics` the topic of each fold.
    """
    columns = np.arange(accuracies.shape[1])

    def score_without(column: int) -> list[float]:
        rest = np.delete(columns, column)
        return [mean_over_topics(row[rest], [topics[place] for place in rest.tolist()]) for row in accuracies]

    return np.array([accuracies[int(np.argmax(score_without(column))), column] for column in columns.tolist()])


def mean_over_topics(accuracies: NDArray[np.float64], topics: Sequence[str]) -> float:
    """Return the mean over topics of the mean over that topic's folds."""
    labels = np.array(topics)
    return float(np.mean([accuracies[labels == topic].mean() for topic in np.unique(labels)]))


def summarise(left_out: Sequence[LeftOut]) -> FoldReport:
    """Return the report over all folds."""
    topics = [each.fold.topic for each in left_out]
    right = np.array([fold.is_right.mean() for fold in left_out])
    right_with_abstaining = np.array([fold.is_right_with_abstaining.mean() for fold in left_out])
    confidence, is_right = pooled(left_out)
    surest = np.argsort(-confidence, kind="stable")[: int(COVERAGE * len(confidence))]
    is_sure = np.concatenate(
        [each.in_scope.is_sure for each in left_out if each.fold.topic != "general"] or [np.ones(1, bool)]
    )
    return FoldReport(
        mean_over_topics(right, topics),
        mean_over_topics(right_with_abstaining, topics),
        float(is_right[surest].mean()),
        expected_calibration_error(confidence, is_right),
        float((~is_sure).mean()),
        {topic: float(right[np.array(topics) == topic].mean()) for topic in sorted(set(topics))},
        {f"{each.fold.topic}: {each.fold.family}": float(value) for each, value in zip(left_out, right, strict=True)},
    )


def pooled(left_out: Sequence[LeftOut]) -> Judged:
    """Return confidence and rightness of every left-out row, fold after fold."""
    return Judged(
        np.concatenate([fold.in_scope.confidence for fold in left_out]),
        np.concatenate([fold.is_right for fold in left_out]),
    )


def out_of_scope_report(left_out: Sequence[LeftOut], seed: int = 0) -> OutOfScopeReport:
    """Compare out-of-scope prompts with left-out rows of like length; the row's fold judges both of a pair."""
    folds = [
        (each.in_scope, each.out_of_scope)
        for each in left_out
        if each.fold.topic != "general" and each.out_of_scope is not None
    ]
    place = [(number, row) for number, (in_scope, _) in enumerate(folds) for row in range(len(in_scope.lengths))]
    lengths = np.concatenate([in_scope.lengths for in_scope, _ in folds])
    pairs = length_matched(lengths.tolist(), folds[0][1].lengths.tolist(), seed)
    in_scope = [folds[place[row][0]][0].take([place[row][1]]) for row, _ in pairs]
    out_of_scope = [folds[place[row][0]][1].take([other]) for row, other in pairs]
    return compare(concatenated(in_scope), concatenated(out_of_scope))
