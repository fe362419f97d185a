"""Prompts that a quick router is unsure of, with its probabilities from models that saw nothing of their family.

Owns the quick router, a linear discriminant of the encoder's vectors with one temperature, and the choice of prompts.
It stands in for the shipped one, which takes half an hour to fit family by family. Knows nothing about experts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.model_selection import StratifiedGroupKFold

from router.mapping_study.gaussian import SharedGaussian
from router.training.classifier import fit_temperature

__all__ = ["OutOfFamily", "least_sure", "out_of_family"]

Floats = NDArray[np.floating]
NUM_FOLDS = 5
SHRINKAGE = 0.1


class OutOfFamily(NamedTuple):
    """Categories in order, and (prompts, categories) log-probabilities of models without the prompt's family."""

    categories: tuple[str, ...]
    log_probabilities: Floats


def out_of_family(vectors: Floats, labels: NDArray[np.str_], families: NDArray[np.str_], seed: int = 0) -> OutOfFamily:
    """Return what models say that were fitted on the other families; their temperature is fitted on all of it."""
    categories, columns = np.unique(labels, return_inverse=True)
    logits = np.full((len(labels), len(categories)), -np.inf)
    folds = StratifiedGroupKFold(NUM_FOLDS, shuffle=True, random_state=seed)
    for fit, held in folds.split(vectors, labels, families):
        if missing := sorted(set(categories.tolist()) - set(labels[fit].tolist())):
            raise ValueError(f"category '{missing[0]}' has one family or few: with it left out there is none; add some")
        model = SharedGaussian(shrinkage=SHRINKAGE).fit(vectors[fit], labels[fit])
        logits[held] = model.logits(vectors[held])
    temperature = fit_temperature(logits, columns)
    return OutOfFamily(tuple(categories.tolist()), log_softmax(logits / temperature, axis=1))


def least_sure(
    log_probabilities: Floats, families: NDArray[np.str_], below: float, num: int, per_family: int, seed: int = 0
) -> NDArray[np.intp]:
    """Return the rows of at most `num` prompts whose likeliest category is below a probability, few of each family."""
    rng = np.random.default_rng(seed)
    unsure = rng.permutation(np.flatnonzero(log_probabilities.max(axis=1) < np.log(below)))
    taken: dict[str, int] = {}
    chosen: list[int] = []
    for row in unsure.tolist():
        family = str(families[row])
        if taken.get(family, 0) < per_family and len(chosen) < num:
            taken[family] = taken.get(family, 0) + 1
            chosen.append(row)
    return np.array(sorted(chosen), dtype=np.intp)
