"""The scores of a loaded artefact: category probabilities, confidence, the nearest training prompts.

Owns their arithmetic, in float32 numpy. Knows nothing about thresholds or experts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from router.model.artefact import Artefact

__all__ = ["Nearest", "Scores", "nearest_to", "score"]

NUM_NEIGHBOURS = 5


class Nearest(NamedTuple):
    """The nearest exemplars, nearest first: their rows (n, k) and cosines (n, k)."""

    rows: NDArray[np.intp]
    cosines: NDArray[np.float32]


class Scores(NamedTuple):
    """Of n prompts: probabilities (n, categories), confidence (n,) in 0 … 1, the nearest training prompts."""

    probabilities: NDArray[np.float32]
    confidence: NDArray[np.floating]
    nearest: Nearest


def score(artefact: Artefact, vectors: NDArray[np.float32], texts: Sequence[str]) -> Scores:
    """Return the scores of n texts and their (n, dims) vectors."""
    centred = artefact.model.centred(vectors)
    logits = artefact.model.logits_around(centred, texts)
    probabilities = softmax(logits / artefact.temperature, axis=1)
    if artefact.described is not None:
        probabilities = artefact.described.joined(probabilities, vectors, texts)
    probabilities = probabilities.astype(np.float32)
    nearest = nearest_to(artefact.exemplar_vectors, centred)
    return Scores(probabilities, artefact.abstain.confidence(probabilities, texts), nearest)


def nearest_to(exemplars: NDArray[np.float32], vectors: NDArray[np.floating]) -> Nearest:
    """Return the nearest exemplars of (n, dims) vectors, by the whole text's embedding."""
    cosines = vectors[:, : exemplars.shape[1]] @ exemplars.T
    num = min(NUM_NEIGHBOURS, exemplars.shape[0])
    rows = np.argpartition(-cosines, num - 1, axis=1)[:, :num]
    near = np.take_along_axis(cosines, rows, axis=1)
    order = np.argsort(-near, axis=1, kind="stable")
    return Nearest(np.take_along_axis(rows, order, axis=1), np.take_along_axis(near, order, axis=1).astype(np.float32))
