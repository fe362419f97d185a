"""Out-of-fold scores: what models say about rows that they were not fitted on, and what follows from them.

Owns the folds (by near-duplicate group, by whole family), the temperature and the abstain rule of a training, and the
choice between recipes. Knows nothing about files.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold
from tqdm import tqdm

from router.model.abstain import AbstainRule
from router.training.classifier import fit_temperature
from router.training.fitting import fit_model
from router.training.own.described import GENERAL
from router.training.own.general_class import FAMILY as GENERAL_FAMILY
from router.training.own.general_class import shift_of
from router.training.recipe import Recipe
from router.training.risk import fit_abstain
from router.training.self_labelling import FAMILY as SELF_LABELLED
from router.training.training_set import TrainingSet

__all__ = [
    "Calibration",
    "Choice",
    "CrossValidated",
    "OutOfFold",
    "accuracy",
    "calibrate",
    "choose",
    "family_accuracy",
    "held_out",
    "held_out_families",
    "is_labelled",
]

Rows = NDArray[np.intp]
MIN_CALIBRATION_ROWS = 30
FEW_ROWS_TEMPERATURE = 0.5


class OutOfFold(NamedTuple):
    """Scores of rows of a training set, each from a model that was not fitted on it."""

    rows: NDArray[np.intp]  # of the training set
    logits: NDArray[np.floating]  # (rows, categories)

    def without(self, left_out: NDArray[np.bool_]) -> OutOfFold:
        """Return the scores of rows that are not left out; `left_out` covers the whole training set."""
        kept = ~left_out[self.rows]
        return OutOfFold(self.rows[kept], self.logits[kept])


class CrossValidated(NamedTuple):
    """Scores of the labelled rows by models that saw none of their near-duplicates, or none of their family.

    The general class's logits are moved by `shift` already, where the recipe added general prompts.
    """

    by_group: OutOfFold
    by_family: OutOfFold
    shift: float

    def without(self, left_out: NDArray[np.bool_]) -> CrossValidated:
        """Return the scores of rows that are not left out; `left_out` covers the whole training set."""
        return CrossValidated(self.by_group.without(left_out), self.by_family.without(left_out), self.shift)


class Calibration(NamedTuple):
    """What turns logits into probabilities, and probabilities into confidence and doubt."""

    temperature: float
    rule: AbstainRule


class Choice(NamedTuple):
    """The best of several recipes, and the figure of each."""

    recipe: Recipe
    figures: list[float]


def held_out(training_set: TrainingSet, recipe: Recipe) -> CrossValidated:
    """Return the scores out of fold that a training's choices are made on."""
    by_group = out_of_fold(training_set, recipe, training_set.groups, np.ones(len(training_set.labels), np.bool_))
    shift = shift_of(training_set, by_group.rows, by_group.logits)
    by_family = held_out_families(training_set, recipe) if training_set.is_separable.any() else by_group
    is_own = is_labelled(training_set)
    return CrossValidated(
        moved(by_group.without(~is_own), training_set, shift),
        moved(by_family.without(~is_own), training_set, shift),
        shift,
    )


def moved(scores: OutOfFold, training_set: TrainingSet, shift: float) -> OutOfFold:
    """Return the scores with the general class's logits moved."""
    if not shift:
        return scores
    logits = scores.logits.copy()
    logits[:, training_set.categories.index(GENERAL)] += shift
    return OutOfFold(scores.rows, logits)


def calibrate(training_set: TrainingSet, scores: CrossValidated, recipe: Recipe) -> Calibration:
    """Return the temperature that fits rows of known families, and the abstain rule that fits rows of unknown ones.

    With fewer rows than say anything both are constants, and the general class alone refuses prompts.
    """
    by_group, by_family = scores.by_group, scores.by_family
    if recipe.kind == "described" and len(by_group.rows) < MIN_CALIBRATION_ROWS:
        return Calibration(FEW_ROWS_TEMPERATURE, AbstainRule(0.0))
    temperature = fit_temperature(by_group.logits, training_set.labels[by_group.rows])
    probabilities = softmax(by_family.logits / temperature, axis=1)
    texts = [training_set.prompts[row].text for row in by_family.rows.tolist()]
    is_right = probabilities.argmax(axis=1) == training_set.labels[by_family.rows]
    return Calibration(temperature, fit_abstain(probabilities, texts, is_right, recipe.abstain_target))


def held_out_families(training_set: TrainingSet, recipe: Recipe) -> OutOfFold:
    """Return scores of rows from models that saw none of their family; of all rows where no family can be held out."""
    separable = training_set.is_separable
    judged = separable if separable.any() else is_labelled(training_set)
    return out_of_fold(training_set, recipe, training_set.family_groups, judged)


def out_of_fold(
    training_set: TrainingSet, recipe: Recipe, groups: NDArray[np.str_], judged: NDArray[np.bool_]
) -> OutOfFold:
    """Return scores of the judged rows, from models that saw none of their group."""
    logits = np.zeros((len(training_set.labels), len(training_set.categories)))
    splits = list(folds(training_set.labels, groups, recipe))
    for fit_rows, held_rows in tqdm(splits, "models for held-out rows", file=sys.stderr, disable=None):
        fitted_on, held = training_set.take(fit_rows), training_set.take(held_rows)
        logits[held_rows] = fit_model(fitted_on, recipe).logits_of(held.vectors, held.term_counts)
    rows = np.flatnonzero(judged)
    return OutOfFold(rows, logits[rows])


def folds(labels: NDArray[np.integer], groups: NDArray[np.str_], recipe: Recipe) -> Iterator[tuple[Rows, Rows]]:
    """Yield the rows to fit on and the rows to judge; categories stand in equal shares in each fold where they can."""
    num_folds = min(recipe.num_folds, len(np.unique(groups)))
    is_small = np.bincount(labels)[np.unique(labels)].min() < num_folds
    kind = GroupKFold if is_small else StratifiedGroupKFold
    yield from kind(num_folds, shuffle=True, random_state=recipe.seed).split(np.zeros(len(labels)), labels, groups)


def is_labelled(training_set: TrainingSet) -> NDArray[np.bool_]:
    """Return (rows,): True where a person labelled the row, and the recipe did not add it."""
    labelled: NDArray[np.bool_] = ~np.isin(training_set.families, (SELF_LABELLED, GENERAL_FAMILY))
    return labelled


def accuracy(training_set: TrainingSet, scores: OutOfFold) -> float:
    """Return the share of rows whose category is right."""
    return float((scores.logits.argmax(1) == training_set.labels[scores.rows]).mean())


def family_accuracy(training_set: TrainingSet, scores: OutOfFold) -> float:
    """Return the accuracy, averaged over the families of each category and then over categories."""
    is_right = scores.logits.argmax(1) == training_set.labels[scores.rows]
    by_family: dict[int, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for row, right in zip(scores.rows.tolist(), is_right.tolist(), strict=True):
        by_family[int(training_set.labels[row])][str(training_set.families[row])].append(right)
    return float(np.mean([np.mean([np.mean(rows) for rows in families.values()]) for families in by_family.values()]))


def choose(training_set: TrainingSet, candidates: Sequence[Recipe]) -> Choice:
    """Return the recipe with the best family accuracy on held-out families."""
    figures = [family_accuracy(training_set, held_out_families(training_set, recipe)) for recipe in candidates]
    return Choice(candidates[int(np.argmax(figures))], figures)
