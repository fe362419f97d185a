"""Vectors and texts to scores: category probabilities and how like the training prompts a vector is.

Owns the arithmetic of a loaded artefact, in float32 numpy. Knows nothing about thresholds or experts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from router.artefact import Artefact

__all__ = ["Scores", "score", "similarity_to"]

NUM_NEIGHBOURS = 5


class Scores(NamedTuple):
    """probabilities (n, categories); similarity (n,) in -1 … 1."""

    probabilities: NDArray[np.float32]
    similarity: NDArray[np.float32]


def score(artefact: Artefact, vectors: NDArray[np.float32], texts: Sequence[str]) -> Scores:
    """Return the scores of n texts and their (n, dims) vectors."""
    logits = artefact.model.logits(vectors, texts)
    probabilities = softmax(logits / artefact.temperature, axis=1).astype(np.float32)
    return Scores(probabilities, similarity_to(artefact.exemplars, vectors))


def similarity_to(exemplars: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (n,): the mean cosine to the nearest exemplars, by the whole text's embedding."""
    cosines = vectors[:, : exemplars.shape[1]] @ exemplars.T
    nearest = min(NUM_NEIGHBOURS, exemplars.shape[0])
    top = np.partition(cosines, -nearest, axis=1)[:, -nearest:]
    mean: NDArray[np.float32] = top.mean(axis=1)
    return mean
