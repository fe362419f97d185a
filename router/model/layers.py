"""The layer of a fitted classifier, vectors to one logit per category: linear, hidden units, or votes of neighbours.

Owns the arithmetic and the arrays that a file keeps, in numpy, so that a loaded router needs no fitting code. Knows
nothing about fitting, prompts or temperature.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

__all__ = ["HiddenLayer", "Layer", "LinearLayer", "NeighbourLayer", "layer_from_arrays"]

Floats = NDArray[np.floating]
UNSEEN_LOGIT = -30.0
SMOOTHING = 1e-3  # of a vote: a category without neighbours is unlikely, not impossible


class Layer(Protocol):
    """(n, dims) vectors to (n, categories) logits."""

    def logits(self, vectors: Floats) -> Floats: ...
    def renumbered(self, categories: NDArray[np.integer], num_categories: int) -> Layer: ...
    def arrays(self) -> dict[str, NDArray[np.generic]]: ...


@dataclass(frozen=True, slots=True)
class LinearLayer:
    """The linear scores of a softmax regression."""

    coef: Floats  # (categories, dims)
    intercept: Floats  # (categories,)

    def logits(self, vectors: Floats) -> Floats:
        """Return (n, categories)."""
        scores: Floats = vectors @ self.coef.T + self.intercept
        return scores

    def renumbered(self, categories: NDArray[np.integer], num_categories: int) -> LinearLayer:
        """Return a layer of more categories: these get the numbers `categories`, the others are all but ruled out."""
        coef = np.zeros((num_categories, self.coef.shape[1]), self.coef.dtype)
        intercept = np.full(num_categories, UNSEEN_LOGIT, self.intercept.dtype)
        coef[categories], intercept[categories] = self.coef, self.intercept
        return LinearLayer(coef, intercept)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return what `layer_from_arrays` reads."""
        return {"coef": self.coef.astype(np.float32), "intercept": self.intercept.astype(np.float32)}


@dataclass(frozen=True, slots=True)
class HiddenLayer:
    """One layer of hidden units with GELU (Hendrycks and Gimpel, arXiv 1606.08415) under a linear one."""

    inner: LinearLayer  # (hidden, dims)
    outer: LinearLayer  # (categories, hidden)

    def logits(self, vectors: Floats) -> Floats:
        """Return (n, categories)."""
        units = self.inner.logits(vectors)
        return self.outer.logits(units * ndtr(units))

    def renumbered(self, categories: NDArray[np.integer], num_categories: int) -> HiddenLayer:
        """Return a layer of more categories, as `LinearLayer.renumbered` does."""
        return HiddenLayer(self.inner, self.outer.renumbered(categories, num_categories))

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return what `layer_from_arrays` reads; the large matrix in half precision."""
        return {
            "hidden_coef": self.inner.coef.astype(np.float16),
            "hidden_intercept": self.inner.intercept.astype(np.float32),
            **self.outer.arrays(),
        }


@dataclass(frozen=True, slots=True)
class NeighbourLayer:
    """The logarithm of the votes of the nearest rows, each weighed by 1 / cosine distance."""

    rows: Floats  # (rows, dims), each of length 1
    labels: NDArray[np.integer]  # (rows,) category numbers
    weights: Floats  # (rows,)
    num_neighbours: int
    num_categories: int

    def logits(self, vectors: Floats) -> Floats:
        """Return (n, categories)."""
        length = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        cosines = (vectors / length) @ self.rows.T
        count = min(self.num_neighbours, len(self.rows))
        nearest = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        distance = np.maximum(1.0 - np.take_along_axis(cosines, nearest, axis=1), 1e-6)
        votes = np.zeros((len(vectors), self.num_categories))
        np.add.at(votes, (np.arange(len(vectors))[:, None], self.labels[nearest]), self.weights[nearest] / distance)
        shares: Floats = votes / votes.sum(axis=1, keepdims=True)
        logits: Floats = np.log(shares + SMOOTHING)
        return logits

    def renumbered(self, categories: NDArray[np.integer], num_categories: int) -> NeighbourLayer:
        """Return a layer of more categories: these get the numbers `categories`, the others get no votes."""
        return replace(self, labels=categories[self.labels], num_categories=num_categories)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return what `layer_from_arrays` reads; vectors in half precision."""
        return {
            "rows": self.rows.astype(np.float16),
            "row_labels": self.labels.astype(np.int32),
            "row_weights": self.weights.astype(np.float32),
            "num_neighbours": np.array([self.num_neighbours], np.int32),
        }


def layer_from_arrays(arrays: Mapping[str, NDArray[np.generic]], num_categories: int) -> Layer:
    """Return the layer that these arrays hold; other arrays among them are not looked at.

    Raises:
        KeyError: there is no array of any kind.
    """
    if "hidden_coef" in arrays:
        inner = LinearLayer(arrays["hidden_coef"].astype(np.float32), arrays["hidden_intercept"].astype(np.float32))
        return HiddenLayer(
            inner, LinearLayer(arrays["coef"].astype(np.float32), arrays["intercept"].astype(np.float32))
        )
    if "rows" in arrays:
        rows = arrays["rows"].astype(np.float32)
        return NeighbourLayer(
            rows,
            arrays["row_labels"].astype(np.intp),
            arrays["row_weights"].astype(np.float32),
            int(arrays["num_neighbours"].astype(int)[0]),
            num_categories,
        )
    return LinearLayer(arrays["coef"].astype(np.float32), arrays["intercept"].astype(np.float32))
