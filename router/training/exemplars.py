"""Exemplars: the training rows that an artefact keeps as vectors, to measure how like them a prompt is.

Owns the sample. Knows nothing about models.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from router.training.recipe import Recipe

__all__ = ["exemplar_rows", "whole"]


def exemplar_rows(labels: NDArray[np.integer], recipe: Recipe) -> NDArray[np.intp]:
    """Return a seeded sample of rows, in order, with the same number from every category."""
    rng = np.random.default_rng(recipe.seed)
    share = max(1, recipe.num_exemplars // len(np.unique(labels)))
    rows = [rng.permutation(np.flatnonzero(labels == label))[:share] for label in np.unique(labels)]
    return np.sort(np.concatenate(rows))


def whole(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the whole-text third of (n, 3 * hidden) vectors."""
    return vectors[:, : vectors.shape[1] // 3]
