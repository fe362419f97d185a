"""TF-IDF of words and word pairs to one score per category.

It stands beside the embedding: that says what a prompt is about; "shorten this", "call the function" and "which
statement follows" say what is to be done with it. Owns counting terms and the scores. Knows nothing about fitting or
embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from router.model.layers import LinearLayer

__all__ = ["TermCounts", "TfIdfModel", "count_terms", "tf_idf"]

Floats = NDArray[np.floating]
TOKEN = r"(?u)\b\w+\b|[^\w\s]"  # a punctuation mark is a word: ? { " say much about a prompt
FIRST_CHARS, LAST_CHARS = 1500, 500  # what is read of a longer text


@dataclass(frozen=True, slots=True)
class TermCounts:
    """How often each term stands in each text."""

    matrix: csr_matrix  # (texts, terms)
    terms: NDArray[np.str_]  # (terms,), sorted

    def take(self, rows: NDArray[np.integer]) -> TermCounts:
        """Return some rows."""
        return TermCounts(self.matrix[rows], self.terms)


class TfIdfModel:
    """A softmax regression over the TF-IDF of chosen terms."""

    def __init__(self, terms: NDArray[np.str_], idf: Floats, layer: LinearLayer) -> None:
        self.terms = terms
        self.idf = idf  # (terms,)
        self.layer = layer
        # (terms, categories), contiguous: a sparse product would copy a transposed view each time
        self._weights = np.ascontiguousarray(layer.coef.T)
        self._counter = term_counter(terms.tolist())

    def logits(self, texts: Sequence[str]) -> Floats:
        """Return (texts, categories)."""
        return self._logits(self._counter.transform(texts))

    def logits_of(self, counts: TermCounts) -> Floats:
        """Return (texts, categories) of counted texts; every term of the model is among the counted ones."""
        columns = np.searchsorted(counts.terms, self.terms)
        return self._logits(counts.matrix[:, columns])

    def _logits(self, counts: csr_matrix) -> Floats:
        scores: Floats = tf_idf(counts, self.idf) @ self._weights + self.layer.intercept
        return scores

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return what `from_arrays` reads; coefficients in half precision."""
        text = "\n".join(self.terms.tolist())
        return {
            "tf_idf_terms": np.frombuffer(text.encode("utf-8", "replace"), np.uint8),
            "tf_idf_idf": self.idf.astype(np.float32),
            "tf_idf_coef": self.layer.coef.astype(np.float16),
            "tf_idf_intercept": self.layer.intercept.astype(np.float32),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Self | None:
        """Return the model that these arrays hold, None where they hold none."""
        if "tf_idf_terms" not in arrays:
            return None
        terms = arrays["tf_idf_terms"].tobytes().decode().split("\n")
        layer = LinearLayer(arrays["tf_idf_coef"].astype(np.float32), arrays["tf_idf_intercept"].astype(np.float32))
        return cls(np.array(terms), arrays["tf_idf_idf"].astype(np.float32), layer)


def count_terms(texts: Sequence[str]) -> TermCounts:
    """Return the counts of every term of these texts."""
    counter = term_counter()
    matrix = counter.fit_transform(texts)
    return TermCounts(matrix, counter.get_feature_names_out())


def term_counter(terms: Sequence[str] | None = None) -> Any:
    """Return scikit-learn's counter of words and word pairs, limited to the given terms if there are any."""
    from sklearn.feature_extraction.text import CountVectorizer  # half a second, and not needed to route by name

    return CountVectorizer(
        preprocessor=counted_text, token_pattern=TOKEN, ngram_range=(1, 2), vocabulary=terms, dtype=np.float32
    )


def counted_text(text: str) -> str:
    """Return the part of a text that is counted: both ends of a long one, in lower case."""
    if len(text) > FIRST_CHARS + LAST_CHARS:
        text = f"{text[:FIRST_CHARS]} {text[-LAST_CHARS:]}"
    return text.encode("utf-8", "replace").decode().casefold()  # a lone surrogate becomes a question mark


def tf_idf(counts: csr_matrix, idf: Floats) -> csr_matrix:
    """Return rows of length 1: (1 + log count) times inverse document frequency."""
    rows = csr_matrix(counts, copy=True)
    rows.data = (1 + np.log(rows.data)) * idf[rows.indices].astype(np.float32)
    length = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    rows.data /= np.repeat(np.where(length > 0, length, 1), np.diff(rows.indptr)).astype(np.float32)
    return rows
