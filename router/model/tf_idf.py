"""The words themselves, beside their meaning: TF-IDF of words and word pairs to one score per category.

An embedding says what a prompt is about; "shorten this", "call the function" and "which statement follows" say what is
to be done with it. Owns counting and the scores. Knows nothing about fitting or embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from router.model.layers import LinearHead

__all__ = ["WordCounts", "WordModel", "count_words", "tf_idf"]

Floats = NDArray[np.floating]
TOKEN = r"(?u)\b\w+\b|[^\w\s]"  # a punctuation mark is a word: ? { " say much about a prompt
HEAD_CHARS, TAIL_CHARS = 1500, 500  # what is read of a longer text


@dataclass(frozen=True, slots=True)
class WordCounts:
    """How often each term stands in each text."""

    matrix: csr_matrix  # (texts, terms)
    terms: NDArray[np.str_]  # (terms,)

    def take(self, rows: NDArray[np.integer]) -> WordCounts:
        """Return some rows."""
        return WordCounts(self.matrix[rows], self.terms)


def vectorizer(terms: Sequence[str] | None = None) -> Any:
    """Return scikit-learn's counter of words and word pairs, of the given terms only if there are any."""
    from sklearn.feature_extraction.text import CountVectorizer  # half a second, and not needed to route by name

    return CountVectorizer(
        preprocessor=readable, token_pattern=TOKEN, ngram_range=(1, 2), vocabulary=terms, dtype=np.float32
    )


def readable(text: str) -> str:
    """Return what is counted of a text: both ends of a long one, in lower case."""
    if len(text) > HEAD_CHARS + TAIL_CHARS:
        text = f"{text[:HEAD_CHARS]} {text[-TAIL_CHARS:]}"
    return text.encode("utf-8", "replace").decode().casefold()  # a lone surrogate becomes a question mark


def count_words(texts: Sequence[str]) -> WordCounts:
    """Return the counts of every term of these texts."""
    counter = vectorizer()
    matrix = counter.fit_transform(texts)
    return WordCounts(matrix, counter.get_feature_names_out())


class WordModel:
    """A softmax regression over TF-IDF of the terms it chose."""

    def __init__(self, terms: NDArray[np.str_], idf: Floats, head: LinearHead) -> None:
        self.terms = terms
        self.idf = idf  # (terms,)
        self.head = head
        self._weights = np.ascontiguousarray(
            head.coef.T
        )  # (terms, categories): a sparse product would copy it each time
        self._counter = vectorizer(terms.tolist())

    def logits(self, texts: Sequence[str]) -> Floats:
        """Return (texts, categories)."""
        return self._logits(self._counter.transform(texts))

    def logits_of(self, counts: WordCounts) -> Floats:
        """Return (texts, categories) of rows of the same table of counts that this was fitted on rows of."""
        columns = np.searchsorted(counts.terms, self.terms)
        return self._logits(counts.matrix[:, columns])

    def _logits(self, counts: csr_matrix) -> Floats:
        scores: Floats = tf_idf(counts, self.idf) @ self._weights + self.head.intercept
        return scores

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return what `of` reads."""
        text = "\n".join(self.terms.tolist())
        return {
            "word_terms": np.frombuffer(text.encode("utf-8", "replace"), np.uint8),
            "word_idf": self.idf.astype(np.float32),
            "word_coef": self.head.coef.astype(np.float16),
            "word_intercept": self.head.intercept.astype(np.float32),
        }

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Self | None:
        """Return the model whose arrays these are, None if they are not there."""
        if "word_terms" not in arrays:
            return None
        terms = arrays["word_terms"].tobytes().decode().split("\n")
        head = LinearHead(arrays["word_coef"].astype(np.float32), arrays["word_intercept"].astype(np.float32))
        return cls(np.array(terms), arrays["word_idf"].astype(np.float32), head)


def tf_idf(counts: csr_matrix, idf: Floats) -> csr_matrix:
    """Return rows of length 1: (1 + log count) times inverse document frequency."""
    rows = csr_matrix(counts, copy=True)
    rows.data = (1 + np.log(rows.data)) * idf[rows.indices].astype(np.float32)
    length = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    rows.data /= np.repeat(np.where(length > 0, length, 1), np.diff(rows.indptr)).astype(np.float32)
    return rows
