"""What models say about rows that they were not fitted on: by near-duplicate group, and by family held out.

Owns the folds, temperature and abstain rule that follow from them, and the choice between recipes. Knows nothing about
files.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.model_selection import StratifiedGroupKFold

from router.model.abstain import AbstainRule, fit_abstain
from router.model.scores import similarity_to
from router.training.classifier import fit_temperature
from router.training.exemplars import exemplars_of
from router.training.fitting import fit_model
from router.training.recipe import Recipe
from router.training.self_labelling import FAMILY as SELF_LABELLED
from router.training.training_set import TrainingSet

__all__ = ["OutOfFold", "accuracy", "calibrate", "choose", "family_accuracy", "held_out_families", "held_out_rows"]


class OutOfFold(NamedTuple):
    """What the classifier said about rows it was not fitted on."""

    rows: NDArray[np.intp]
    logits: NDArray[np.floating]  # (rows, categories)
    similarity: NDArray[np.floating]  # (rows,)

    def without(self, left_out: NDArray[np.bool_]) -> OutOfFold:
        """Return what was said about the rows of the training set that are not left out."""
        kept = ~left_out[self.rows]
        return OutOfFold(self.rows[kept], self.logits[kept], self.similarity[kept])


def calibrate(
    training_set: TrainingSet, known: OutOfFold, foreign: OutOfFold, recipe: Recipe
) -> tuple[float, AbstainRule]:
    """Return the temperature that rows of known sources call for, and the rule that rows of unknown ones do."""
    temperature = fit_temperature(known.logits, training_set.labels[known.rows])
    confidence = softmax(foreign.logits / temperature, axis=1).max(axis=1)
    return temperature, fit_abstain(confidence, foreign.similarity, recipe.abstain_target)


def out_of_fold(
    training_set: TrainingSet, recipe: Recipe, groups: NDArray[np.str_], judged: NDArray[np.bool_]
) -> OutOfFold:
    """Return logits and similarities of the judged rows, from models that saw none of their group."""
    num_folds = min(recipe.num_folds, len(np.unique(groups)))
    splits = StratifiedGroupKFold(num_folds, shuffle=True, random_state=recipe.seed)
    logits = np.zeros((len(training_set.labels), len(training_set.categories)))
    similarity = np.zeros(len(training_set.labels))
    for fit_rows, held_rows in splits.split(training_set.vectors, training_set.labels, groups):
        fitted_on = training_set.take(fit_rows)
        model = fit_model(fitted_on, recipe)
        logits[held_rows] = model.logits_of(training_set.vectors[held_rows], training_set.terms.take(held_rows))
        similarity[held_rows] = similarity_to(exemplars_of(fitted_on, recipe), training_set.vectors[held_rows])
    rows = np.flatnonzero(judged)
    return OutOfFold(rows, logits[rows], similarity[rows])


def held_out_families(training_set: TrainingSet, recipe: Recipe) -> OutOfFold:
    """Return what is said about sources nobody has seen; where there are too few families, about all rows."""
    foreign = training_set.is_foreign
    return out_of_fold(
        training_set, recipe, training_set.sources, foreign if foreign.any() else is_labelled(training_set)
    )


def held_out_rows(training_set: TrainingSet, recipe: Recipe) -> OutOfFold:
    """Return what is said about all rows, by models that saw none of their near-duplicates."""
    return out_of_fold(training_set, recipe, training_set.groups, is_labelled(training_set))


def is_labelled(training_set: TrainingSet) -> NDArray[np.bool_]:
    """(rows,) True where a person labelled the row."""
    labelled: NDArray[np.bool_] = training_set.families != SELF_LABELLED
    return labelled


def accuracy(training_set: TrainingSet, said: OutOfFold) -> float:
    """Return the share of rows whose category is right."""
    return float((said.logits.argmax(1) == training_set.labels[said.rows]).mean())


def family_accuracy(training_set: TrainingSet, said: OutOfFold) -> float:
    """Return the mean over categories of the mean over their families of the share that is right."""
    is_right = said.logits.argmax(1) == training_set.labels[said.rows]
    by_family: dict[int, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for row, right in zip(said.rows.tolist(), is_right.tolist(), strict=True):
        by_family[int(training_set.labels[row])][str(training_set.families[row])].append(right)
    return float(np.mean([np.mean([np.mean(rows) for rows in families.values()]) for families in by_family.values()]))


def choose(training_set: TrainingSet, candidates: Sequence[Recipe]) -> tuple[Recipe, list[float]]:
    """Return the recipe under which families held out are sorted best, and every candidate's figure."""
    figures = [family_accuracy(training_set, held_out_families(training_set, recipe)) for recipe in candidates]
    return candidates[int(np.argmax(figures))], figures
