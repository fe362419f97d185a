"""What is learned: a head over embeddings, and beside it, if it helps, a model of the words themselves.

Owns how the two are added up: logits, the words' at a weight (a product of experts, Hinton 2002). Knows nothing about
how either is fitted, about temperature, or about files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.model.layers import Head
from router.model.tf_idf import WordCounts, WordModel

__all__ = ["Model"]

Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Model:
    """Vectors and texts to logits, one per category."""

    head: Head
    words: WordModel | None = None
    words_weight: float = 0.0

    def logits(self, vectors: Floats, texts: Sequence[str]) -> Floats:
        """Return (n, categories) of (n, dims) vectors and their n texts."""
        return self._sum(vectors, lambda words: words.logits(texts))

    def logits_of(self, vectors: Floats, counts: WordCounts) -> Floats:
        """Return (n, categories) of rows of the table that this was fitted on rows of."""
        return self._sum(vectors, lambda words: words.logits_of(counts))

    def _sum(self, vectors: Floats, words_logits: Callable[[WordModel], Floats]) -> Floats:
        logits = self.head.logits(vectors)
        if self.words is None:
            return logits
        total: Floats = logits + self.words_weight * words_logits(self.words)
        return total
