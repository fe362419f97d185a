"""The trained model: logits per category from a text's embedding and from its TF-IDF.

Owns their sum, TF-IDF at a weight (a product of experts, Hinton 2002). Knows nothing about how either is fitted, about
temperature, or about files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.model.centre import around
from router.model.layers import Layer
from router.model.tf_idf import TermCounts, TfIdfModel

__all__ = ["CategoryModel"]

Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class CategoryModel:
    """Vectors and texts to logits, one per category.

    Without a `tf_idf` the vectors alone count; without a `centre` they are taken as they come.
    """

    layer: Layer
    tf_idf: TfIdfModel | None = None
    tf_idf_weight: float = 0.0
    centre: Floats | None = None  # (segments, hidden)

    def centred(self, vectors: Floats) -> Floats:
        """Return (n, dims): each segment's distance from the centre, made 1 long."""
        return vectors if self.centre is None else around(vectors, self.centre)

    def logits(self, vectors: Floats, texts: Sequence[str]) -> Floats:
        """Return (n, categories) of (n, dims) vectors and their n texts."""
        return self.logits_around(self.centred(vectors), texts)

    def logits_around(self, centred: Floats, texts: Sequence[str]) -> Floats:
        """Return (n, categories) of (n, dims) vectors around the centre and their n texts."""
        return self._sum(centred, lambda model: model.logits(texts))

    def logits_of(self, vectors: Floats, counts: TermCounts) -> Floats:
        """Return (n, categories) of (n, dims) vectors and their n texts' counted terms."""
        return self._sum(self.centred(vectors), lambda model: model.logits_of(counts))

    def _sum(self, centred: Floats, tf_idf_logits: Callable[[TfIdfModel], Floats]) -> Floats:
        logits = self.layer.logits(centred)
        if self.tf_idf is None:
            return logits
        total: Floats = logits + self.tf_idf_weight * tf_idf_logits(self.tf_idf)
        return total
