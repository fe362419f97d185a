"""Leave one family out: what a recipe does on families that its models have never seen.

Owns the protocol of `router_folds.json`: train without a family, judge on it, average over topics. Between recipes no
fold is its own judge: each fold takes the recipe that did best on all others. Covered: no classifier, term list or
self-made label has seen the family. Not covered: temperature and thresholds come from out-of-fold scores of the other
rows, whose models did see it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from router.evaluation.calibration import Judged, expected_calibration_error
from router.evaluation.out_of_scope import OutOfScopeReport, ScoredPrompts, compare, concatenated, length_matched
from router.model.category_model import CategoryModel
from router.model.scores import similarity_to
from router.training.exemplars import exemplar_vectors
from router.training.fitting import family_weights, fit_layer, fit_model, fit_tf_idf
from router.training.out_of_fold import Calibration, calibrate, held_out_families, held_out_groups
from router.training.recipe import Recipe
from router.training.training_set import TrainingSet

__all__ = [
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

Floats = NDArray[np.floating]
COVERAGE = 0.8


class OutOfScopePrompts(NamedTuple):
    """Prompts that belong to no category."""

    texts: tuple[str, ...]
    vectors: Floats


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Scores of a family's rows, and of out-of-scope prompts, by a model that never saw the family."""

    topic: str
    family: str
    in_scope: ScoredPrompts
    is_right: NDArray[np.bool_]
    out_of_scope: ScoredPrompts | None = None

    @property
    def is_right_with_abstaining(self) -> NDArray[np.bool_]:
        """Abstaining sends a prompt to the general expert: right for `general`, wrong for all others."""
        is_sure = self.in_scope.is_sure
        return (self.is_right | ~is_sure) if self.topic == "general" else (self.is_right & is_sure)


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
    """A model with the calibration and the exemplars that it would ship with."""

    model: CategoryModel
    calibration: Calibration
    exemplars: Floats  # (exemplars, hidden)

    def scored(self, logits: Floats, vectors: Floats, texts: Sequence[str]) -> ScoredPrompts:
        """Return the scores of n texts with their (n, dims) vectors and (n, categories) logits."""
        confidence = softmax(logits / self.calibration.temperature, axis=1).max(axis=1)
        similarity = similarity_to(self.exemplars, vectors)
        lengths = np.array([len(text) for text in texts])
        return ScoredPrompts(lengths, confidence, similarity, self.calibration.rule.is_sure(confidence, similarity))


def leave_family_out(
    training_set: TrainingSet,
    folds: Mapping[str, Sequence[str]],
    recipe: Recipe,
    out_of_scope: OutOfScopePrompts | None = None,
) -> list[LeftOut]:
    """Judge a recipe on each family in turn, left out of the training; `folds` is topic -> families."""
    by_group, by_family = held_out_groups(training_set, recipe), held_out_families(training_set, recipe)

    def left_out(topic: str, family: str) -> LeftOut:
        is_held = training_set.families == family
        rest, held = training_set.take(np.flatnonzero(~is_held)), training_set.take(np.flatnonzero(is_held))
        calibration = calibrate(training_set, by_group.without(is_held), by_family.without(is_held), recipe)
        fold = FittedFold(fit_model(rest, recipe), calibration, exemplar_vectors(rest, recipe))
        logits = fold.model.logits_of(held.vectors, held.term_counts)
        is_right = logits.argmax(axis=1) == training_set.categories.index(topic)
        in_scope = fold.scored(logits, held.vectors, [prompt.text for prompt in held.prompts])
        if out_of_scope is None:
            return LeftOut(topic, family, in_scope, is_right)
        texts, vectors = out_of_scope
        others = fold.scored(fold.model.logits(vectors, texts), vectors, texts)
        return LeftOut(topic, family, in_scope, is_right, others)

    return [left_out(topic, family) for topic, families in folds.items() for family in families]


def fold_accuracies(
    training_set: TrainingSet, folds: Mapping[str, Sequence[str]], recipes: Sequence[Recipe]
) -> NDArray[np.float64]:
    """Return (recipes, folds): the accuracy of each recipe on each family that was left out."""
    pairs = [(topic, family) for topic, families in folds.items() for family in families]
    return np.array([accuracies_on(training_set, topic, family, recipes) for topic, family in pairs]).T


def accuracies_on(training_set: TrainingSet, topic: str, family: str, recipes: Sequence[Recipe]) -> list[float]:
    """Return each recipe's accuracy on a family left out; what recipes have in common is fitted once."""
    is_held = training_set.families == family
    rest, held = training_set.take(np.flatnonzero(~is_held)), training_set.take(np.flatnonzero(is_held))
    fitted: dict[Recipe | float, Floats] = {}

    def logits(recipe: Recipe) -> Floats:
        weights, of_vectors = family_weights(rest, recipe), replace(recipe, tf_idf_weight=0.0)
        if of_vectors not in fitted:
            fitted[of_vectors] = fit_layer(rest, weights, recipe).logits(held.vectors)
        if not recipe.tf_idf_weight:
            return fitted[of_vectors]
        if recipe.tf_idf_penalty not in fitted:
            fitted[recipe.tf_idf_penalty] = fit_tf_idf(rest, weights, recipe).logits_of(held.term_counts)
        return fitted[of_vectors] + recipe.tf_idf_weight * fitted[recipe.tf_idf_penalty]

    right = training_set.categories.index(topic)
    return [float((logits(recipe).argmax(axis=1) == right).mean()) for recipe in recipes]


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
    topics = [fold.topic for fold in left_out]
    right = np.array([fold.is_right.mean() for fold in left_out])
    right_with_abstaining = np.array([fold.is_right_with_abstaining.mean() for fold in left_out])
    confidence, is_right = pooled(left_out)
    surest = np.argsort(-confidence, kind="stable")[: int(COVERAGE * len(confidence))]
    is_sure = np.concatenate(
        [fold.in_scope.is_sure for fold in left_out if fold.topic != "general"] or [np.ones(1, bool)]
    )
    return FoldReport(
        mean_over_topics(right, topics),
        mean_over_topics(right_with_abstaining, topics),
        float(is_right[surest].mean()),
        expected_calibration_error(confidence, is_right),
        float((~is_sure).mean()),
        {topic: float(right[np.array(topics) == topic].mean()) for topic in sorted(set(topics))},
        {f"{fold.topic}: {fold.family}": float(value) for fold, value in zip(left_out, right, strict=True)},
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
        (fold.in_scope, fold.out_of_scope)
        for fold in left_out
        if fold.topic != "general" and fold.out_of_scope is not None
    ]
    place = [(number, row) for number, (in_scope, _) in enumerate(folds) for row in range(len(in_scope.lengths))]
    lengths = np.concatenate([in_scope.lengths for in_scope, _ in folds])
    pairs = length_matched(lengths.tolist(), folds[0][1].lengths.tolist(), seed)
    in_scope = [folds[place[row][0]][0].take([place[row][1]]) for row, _ in pairs]
    out_of_scope = [folds[place[row][0]][1].take([other]) for row, other in pairs]
    return compare(concatenated(in_scope), concatenated(out_of_scope))
