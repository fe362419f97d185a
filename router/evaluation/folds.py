"""Leave one family out: what a recipe does on sources it has never seen.

Owns the protocol of `router_folds.json`: train without a family, judge on it, and average over topics. Between recipes
a fold is never its own judge: each fold is judged by the recipe that did best on all others. Covered: no classifier,
word list or self-made label has seen the family. Not covered: temperature and thresholds come from out-of-fold values
of the other rows, whose models did see it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from router.evaluation.calibration import expected_calibration_error
from router.evaluation.out_of_scope import Doubted, OutOfScopeReport, compare, length_matched, together
from router.model.abstain import AbstainRule
from router.model.category_model import CategoryModel
from router.model.scores import similarity_to
from router.training.exemplars import exemplar_vectors
from router.training.fitting import family_weights, fit_layer, fit_model, fit_tf_idf
from router.training.out_of_fold import calibrate, held_out_families, held_out_groups
from router.training.recipe import Recipe
from router.training.training_set import TrainingSet

__all__ = [
    "FoldReport",
    "LeftOut",
    "Outsiders",
    "against_outsiders",
    "chosen_by_others",
    "fold_accuracies",
    "leave_family_out",
    "mean_over_topics",
    "pooled",
    "summarise",
]

Floats = NDArray[np.floating]
COVERAGE = 0.8


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What was said about the rows of a family by a model that never saw it, and by that model about outsiders."""

    topic: str
    family: str
    inside: Doubted
    is_right: NDArray[np.bool_]
    outside: Doubted | None = None

    @property
    def is_right_with_abstaining(self) -> NDArray[np.bool_]:
        """Abstaining sends a prompt to the general expert: right for `general`, wrong for all others."""
        is_sure = self.inside.is_sure
        return (self.is_right | ~is_sure) if self.topic == "general" else (self.is_right & is_sure)


class Outsiders(NamedTuple):
    """Prompts that belong to no category."""

    texts: tuple[str, ...]
    vectors: Floats


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


def leave_family_out(
    training_set: TrainingSet, folds: Mapping[str, Sequence[str]], recipe: Recipe, outsiders: Outsiders | None = None
) -> list[LeftOut]:
    """Return what a recipe says about each family left out in turn; `folds` is topic -> families."""
    known, foreign = held_out_groups(training_set, recipe), held_out_families(training_set, recipe)

    def judged(topic: str, family: str) -> LeftOut:
        is_held = training_set.families == family
        rest, held = training_set.take(np.flatnonzero(~is_held)), training_set.take(np.flatnonzero(is_held))
        temperature, rule = calibrate(training_set, known.without(is_held), foreign.without(is_held), recipe)
        doubt = Doubt(fit_model(rest, recipe), temperature, rule, exemplar_vectors(rest, recipe))
        logits = doubt.model.logits_of(held.vectors, held.term_counts)
        is_right = logits.argmax(axis=1) == training_set.categories.index(topic)
        inside = doubt.about(logits, held.vectors, [prompt.text for prompt in held.prompts])
        if outsiders is None:
            return LeftOut(topic, family, inside, is_right)
        logits = doubt.model.logits(outsiders.vectors, outsiders.texts)
        return LeftOut(topic, family, inside, is_right, doubt.about(logits, outsiders.vectors, outsiders.texts))

    return [judged(topic, family) for topic, families in folds.items() for family in families]


@dataclass(frozen=True, slots=True)
class Doubt:
    """A fitted model with the temperature, rule and exemplars it would ship with."""

    model: CategoryModel
    temperature: float
    rule: AbstainRule
    exemplars: Floats

    def about(self, logits: Floats, vectors: Floats, texts: Sequence[str]) -> Doubted:
        """Return what is said about (n, dims) vectors with these (n, categories) logits."""
        confidence = softmax(logits / self.temperature, axis=1).max(axis=1)
        similarity = similarity_to(self.exemplars, vectors)
        lengths = np.array([len(text) for text in texts])
        return Doubted(lengths, confidence, similarity, self.rule.is_sure(confidence, similarity))


def fold_accuracies(
    training_set: TrainingSet, folds: Mapping[str, Sequence[str]], recipes: Sequence[Recipe]
) -> NDArray[np.float64]:
    """Return (recipes, folds): the accuracy of each recipe on each family it never saw."""
    pairs = [(topic, family) for topic, families in folds.items() for family in families]
    return np.array([accuracies_on(training_set, topic, family, recipes) for topic, family in pairs]).T


def accuracies_on(training_set: TrainingSet, topic: str, family: str, recipes: Sequence[Recipe]) -> list[float]:
    """Return each recipe's accuracy on a family left out; what recipes have in common is fitted once."""
    is_held = training_set.families == family
    rest, held = training_set.take(np.flatnonzero(~is_held)), training_set.take(np.flatnonzero(is_held))
    parts: dict[Recipe | float, Floats] = {}

    def logits(recipe: Recipe) -> Floats:
        weights, of_vectors = family_weights(rest, recipe), replace(recipe, tf_idf_weight=0.0)
        if of_vectors not in parts:
            parts[of_vectors] = fit_layer(rest, weights, recipe).logits(held.vectors)
        if not recipe.tf_idf_weight:
            return parts[of_vectors]
        if recipe.tf_idf_penalty not in parts:
            parts[recipe.tf_idf_penalty] = fit_tf_idf(rest, weights, recipe).logits_of(held.term_counts)
        return parts[of_vectors] + recipe.tf_idf_weight * parts[recipe.tf_idf_penalty]

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
    in_domain = np.concatenate(
        [fold.inside.is_sure for fold in left_out if fold.topic != "general"] or [np.ones(1, bool)]
    )
    return FoldReport(
        mean_over_topics(right, topics),
        mean_over_topics(right_with_abstaining, topics),
        float(is_right[surest].mean()),
        expected_calibration_error(confidence, is_right),
        float((~in_domain).mean()),
        {topic: float(right[np.array(topics) == topic].mean()) for topic in sorted(set(topics))},
        {f"{fold.topic}: {fold.family}": float(value) for fold, value in zip(left_out, right, strict=True)},
    )


def pooled(left_out: Sequence[LeftOut]) -> tuple[Floats, NDArray[np.bool_]]:
    """Return confidence and whether right of every left-out row."""
    return (
        np.concatenate([fold.inside.confidence for fold in left_out]),
        np.concatenate([fold.is_right for fold in left_out]),
    )


def against_outsiders(left_out: Sequence[LeftOut], seed: int = 0) -> OutOfScopeReport:
    """Return how doubt tells outsiders from left-out rows of like length; a pair is judged by the row's own fold."""
    folds = [fold for fold in left_out if fold.topic != "general" and fold.outside is not None]
    place = [(number, row) for number, fold in enumerate(folds) for row in range(len(fold.is_right))]
    lengths = np.concatenate([fold.inside.lengths for fold in folds])
    outside = folds[0].outside
    assert outside is not None
    pairs = length_matched(lengths.tolist(), outside.lengths.tolist(), seed)
    left = [folds[place[row][0]].inside.take([place[row][1]]) for row, _ in pairs]
    right = [folds[place[row][0]].outside.take([other]) for row, other in pairs]  # type: ignore[union-attr]
    return compare(together(left), together(right))
