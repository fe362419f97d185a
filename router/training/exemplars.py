"""Which training rows an artefact keeps as vectors, to measure how like them a prompt is.

Owns the sample. Knows nothing about models.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from router.training.recipe import Recipe
from router.training.training_set import TrainingSet

__all__ = ["choose_exemplars", "exemplars_of", "whole"]


def exemplars_of(training_set: TrainingSet, recipe: Recipe) -> NDArray[np.float32]:
    """Return the (exemplars, hidden) vectors that similarity is measured to."""
    return whole(training_set.vectors[choose_exemplars(training_set.labels, recipe)])


def choose_exemplars(labels: NDArray[np.integer], recipe: Recipe) -> NDArray[np.intp]:
    """Return the rows of a sample with the same number from every category, in order."""
    rng = np.random.default_rng(recipe.seed)
    share = max(1, recipe.num_exemplars // len(np.unique(labels)))
    rows = [rng.permutation(np.flatnonzero(labels == label))[:share] for label in np.unique(labels)]
    return np.sort(np.concatenate(rows))


def whole(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the whole-text third of (n, 3 * hidden) vectors."""
    return vectors[:, : vectors.shape[1] // 3]
