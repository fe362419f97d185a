"""Out-of-fold scores: what models say about rows that they were not fitted on, and what follows from them.

Owns the folds (by near-duplicate group, by whole family), the temperature and the abstain rule of a training, and the
choice between recipes. Knows nothing about files.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.model_selection import StratifiedGroupKFold
from tqdm import tqdm

from router.model.abstain import AbstainRule
from router.training.classifier import fit_temperature
from router.training.fitting import fit_model
from router.training.recipe import Recipe
from router.training.risk import fit_abstain
from router.training.self_labelling import FAMILY as SELF_LABELLED
from router.training.training_set import TrainingSet

__all__ = [
    "Calibration",
    "Choice",
    "OutOfFold",
    "accuracy",
    "calibrate",
    "choose",
    "family_accuracy",
    "held_out_families",
    "held_out_groups",
]


class OutOfFold(NamedTuple):
    """Scores of rows of a training set, each from a model that was not fitted on it."""

    rows: NDArray[np.intp]  # of the training set
    logits: NDArray[np.floating]  # (rows, categories)

    def without(self, left_out: NDArray[np.bool_]) -> OutOfFold:
        """Return the scores of rows that are not left out; `left_out` covers the whole training set."""
        kept = ~left_out[self.rows]
        return OutOfFold(self.rows[kept], self.logits[kept])


class Calibration(NamedTuple):
    """What turns logits into probabilities, and probabilities into confidence and doubt."""

    temperature: float
    rule: AbstainRule


class Choice(NamedTuple):
    """The best of several recipes, and the figure of each."""

    recipe: Recipe
    figures: list[float]


def calibrate(training_set: TrainingSet, by_group: OutOfFold, by_family: OutOfFold, recipe: Recipe) -> Calibration:
    """Return the temperature that fits rows of known families, and the abstain rule that fits rows of unknown ones."""
    temperature = fit_temperature(by_group.logits, training_set.labels[by_group.rows])
    probabilities = softmax(by_family.logits / temperature, axis=1)
    texts = [training_set.prompts[row].text for row in by_family.rows.tolist()]
    is_right = probabilities.argmax(axis=1) == training_set.labels[by_family.rows]
    return Calibration(temperature, fit_abstain(probabilities, texts, is_right, recipe.abstain_target))


def held_out_groups(training_set: TrainingSet, recipe: Recipe) -> OutOfFold:
    """Return scores of all rows, from models that saw none of their near-duplicates."""
    return out_of_fold(training_set, recipe, training_set.groups, is_labelled(training_set))


def held_out_families(training_set: TrainingSet, recipe: Recipe) -> OutOfFold:
    """Return scores of rows from models that saw none of their family; of all rows where no family can be held out."""
    separable = training_set.is_separable
    judged = separable if separable.any() else is_labelled(training_set)
    return out_of_fold(training_set, recipe, training_set.family_groups, judged)


def out_of_fold(
    training_set: TrainingSet, recipe: Recipe, groups: NDArray[np.str_], judged: NDArray[np.bool_]
) -> OutOfFold:
    """Return scores of the judged rows, from models that saw none of their group."""
    num_folds = min(recipe.num_folds, len(np.unique(groups)))
    splits = StratifiedGroupKFold(num_folds, shuffle=True, random_state=recipe.seed)
    logits = np.zeros((len(training_set.labels), len(training_set.categories)))
    folds = splits.split(training_set.vectors, training_set.labels, groups)
    for fit_rows, held_rows in tqdm(folds, "models for held-out rows", num_folds, file=sys.stderr, disable=None):
        fitted_on, held = training_set.take(fit_rows), training_set.take(held_rows)
        logits[held_rows] = fit_model(fitted_on, recipe).logits_of(held.vectors, held.term_counts)
    rows = np.flatnonzero(judged)
    return OutOfFold(rows, logits[rows])


def is_labelled(training_set: TrainingSet) -> NDArray[np.bool_]:
    """Return (rows,): True where a person labelled the row."""
    labelled: NDArray[np.bool_] = training_set.families != SELF_LABELLED
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
