"""Near-duplicates: groups of texts that share most of their wording, found exactly.

Owns the measure and the search. Covered: other case, punctuation, numbers, a changed or added clause. Not covered:
paraphrases, and a word changed in a prompt of a few words, which is another question as often as not. Knows nothing
about categories or splits.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix, triu
from scipy.sparse.csgraph import connected_components

__all__ = ["groups_of", "wording"]

MIN_SHARED = 0.7  # Jaccard similarity of shingles
SHINGLE_WORDS = 3
UNSPACED = "\u3040-\u30ff\u3400-\u9fff"  # kana and Han: written without spaces, so each character counts as a word
WORD = re.compile(rf"[{UNSPACED}]|(?:(?![{UNSPACED}])\w)+")
NUMBER = re.compile(r"\d+")
CHUNK = 100_000  # pairs that are compared at a time


def groups_of(texts: Sequence[str]) -> list[str]:
    """Return one group key per text; near-duplicates, and near-duplicates of those, share it.

    Two texts are near-duplicates if the sets of their three-word runs overlap by MIN_SHARED (Jaccard), case,
    punctuation and the digits of numbers apart: a templated question with other numbers is the same question. A key
    depends on its group alone, not on the other texts or their order.
    """
    return list(cached_groups(tuple(texts)))


@lru_cache(maxsize=4)
def cached_groups(texts: tuple[str, ...]) -> tuple[str, ...]:
    """As `groups_of`; checking, splitting and reporting ask for the groups of the same rows."""
    if not texts:
        return ()
    wordings, which = np.unique([wording(text) for text in texts], return_inverse=True)
    labels = linked(shingle_matrix(wordings.tolist()))
    firsts = {label: row for row, label in reversed(list(enumerate(labels.tolist())))}  # wordings are sorted
    keys = [key_of(wordings[firsts[label]]) for label in labels.tolist()]
    return tuple(keys[row] for row in which)


def wording(text: str) -> str:
    """Return the words of a text, one space between them, every number a 0."""
    cleaned = text.encode("utf-8", "replace").decode().replace("\0", " ")  # numpy's strings end at a NUL
    return " ".join(WORD.findall(NUMBER.sub("0", cleaned.casefold())))


def key_of(words: str) -> str:
    return hashlib.blake2b(words.encode(), digest_size=8).hexdigest()


def shingles(words: str) -> list[str]:
    """Return the runs of three words; a shorter text is one run."""
    each = words.split(" ")
    return [" ".join(each[at : at + SHINGLE_WORDS]) for at in range(max(1, len(each) - SHINGLE_WORDS + 1))]


def shingle_matrix(wordings: Sequence[str]) -> csr_matrix:
    """Return (texts, shingles), 1 where a text has a shingle; columns from rare to common, sorted in every row."""
    from sklearn.feature_extraction.text import CountVectorizer  # half a second, and not needed to route

    found: csr_matrix = CountVectorizer(analyzer=shingles, binary=True, dtype=np.int32).fit_transform(wordings)
    ordered = found[:, np.argsort(found.getnnz(axis=0), kind="stable")]
    ordered.sort_indices()
    return ordered


def linked(matrix: csr_matrix) -> Any:
    """Return (texts,) labels of the connected groups of near-duplicates."""
    first, second = candidates(matrix)
    sizes = matrix.getnnz(axis=1)
    is_near = np.zeros(len(first), bool)
    for start in range(0, len(first), CHUNK):
        chunk = slice(start, start + CHUNK)
        shared = np.asarray(matrix[first[chunk]].multiply(matrix[second[chunk]]).sum(axis=1)).ravel()
        is_near[chunk] = shared >= MIN_SHARED * (sizes[first[chunk]] + sizes[second[chunk]] - shared)
    edges = coo_matrix((np.ones(is_near.sum()), (first[is_near], second[is_near])), shape=(len(sizes), len(sizes)))
    return connected_components(edges, directed=False)[1]


def candidates(matrix: csr_matrix) -> tuple[Any, Any]:
    """Return every pair that can be near, as two arrays of rows: those that share one of their rarest shingles.

    Of n shingles, two texts that share a fraction t of all have at least t * n in common, so they cannot miss each
    other among the n - ceil(t * n) + 1 rarest (prefix filtering: Chaudhuri, Ganti and Kaushik 2006).
    """
    sizes = matrix.getnnz(axis=1)
    rows = np.repeat(np.arange(len(sizes)), sizes)
    position = np.arange(matrix.nnz) - matrix.indptr[rows]
    is_rare = position <= (sizes - np.ceil(MIN_SHARED * sizes))[rows]
    rare = csr_matrix((matrix.data[is_rare], (rows[is_rare], matrix.indices[is_rare])), shape=matrix.shape)
    pairs = triu(rare @ rare.T, k=1).tocoo()
    return pairs.row, pairs.col
