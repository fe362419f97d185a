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
from router.training.training_set import Table

__all__ = ["OutOfFold", "accuracy", "calibrate", "choose", "family_accuracy", "held_out_families", "held_out_rows"]


class OutOfFold(NamedTuple):
    """What the classifier said about rows it was not fitted on."""

    rows: NDArray[np.intp]
    logits: NDArray[np.floating]  # (rows, categories)
    similarity: NDArray[np.floating]  # (rows,)

    def without(self, left_out: NDArray[np.bool_]) -> OutOfFold:
        """Return what was said about the rows of the table that are not left out."""
        kept = ~left_out[self.rows]
        return OutOfFold(self.rows[kept], self.logits[kept], self.similarity[kept])


def calibrate(table: Table, known: OutOfFold, foreign: OutOfFold, recipe: Recipe) -> tuple[float, AbstainRule]:
    """Return the temperature that rows of known sources call for, and the rule that rows of unknown ones do."""
    temperature = fit_temperature(known.logits, table.labels[known.rows])
    confidence = softmax(foreign.logits / temperature, axis=1).max(axis=1)
    return temperature, fit_abstain(confidence, foreign.similarity, recipe.abstain_target)


def out_of_fold(table: Table, recipe: Recipe, groups: NDArray[np.str_], judged: NDArray[np.bool_]) -> OutOfFold:
    """Return logits and similarities of the judged rows, from models that saw none of their group."""
    num_folds = min(recipe.num_folds, len(np.unique(groups)))
    splits = StratifiedGroupKFold(num_folds, shuffle=True, random_state=recipe.seed)
    logits = np.zeros((len(table.labels), len(table.categories)))
    similarity = np.zeros(len(table.labels))
    for fit_rows, held_rows in splits.split(table.vectors, table.labels, groups):
        fitted_on = table.take(fit_rows)
        model = fit_model(fitted_on, recipe)
        logits[held_rows] = model.logits_of(table.vectors[held_rows], table.terms.take(held_rows))
        similarity[held_rows] = similarity_to(exemplars_of(fitted_on, recipe), table.vectors[held_rows])
    rows = np.flatnonzero(judged)
    return OutOfFold(rows, logits[rows], similarity[rows])


def held_out_families(table: Table, recipe: Recipe) -> OutOfFold:
    """Return what is said about sources nobody has seen; where there are too few families, about all rows."""
    foreign = table.is_foreign
    return out_of_fold(table, recipe, table.sources, foreign if foreign.any() else is_labelled(table))


def held_out_rows(table: Table, recipe: Recipe) -> OutOfFold:
    """Return what is said about all rows, by models that saw none of their near-duplicates."""
    return out_of_fold(table, recipe, table.groups, is_labelled(table))


def is_labelled(table: Table) -> NDArray[np.bool_]:
    """(rows,) True where a person labelled the row."""
    labelled: NDArray[np.bool_] = table.families != SELF_LABELLED
    return labelled


def accuracy(table: Table, said: OutOfFold) -> float:
    """Return the share of rows whose category is right."""
    return float((said.logits.argmax(1) == table.labels[said.rows]).mean())


def family_accuracy(table: Table, said: OutOfFold) -> float:
    """Return the mean over categories of the mean over their families of the share that is right."""
    is_right = said.logits.argmax(1) == table.labels[said.rows]
    by_family: dict[int, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for row, right in zip(said.rows.tolist(), is_right.tolist(), strict=True):
        by_family[int(table.labels[row])][str(table.families[row])].append(right)
    return float(np.mean([np.mean([np.mean(rows) for rows in families.values()]) for families in by_family.values()]))


def choose(table: Table, candidates: Sequence[Recipe]) -> tuple[Recipe, list[float]]:
    """Return the recipe under which families held out are sorted best, and every candidate's figure."""
    figures = [family_accuracy(table, held_out_families(table, recipe)) for recipe in candidates]
    return candidates[int(np.argmax(figures))], figures
