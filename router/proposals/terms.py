"""Characteristic terms of groups of texts.

Owns the weight of a term in a group, class-based TF-IDF (Grootendorst, arXiv 2203.05794) with the term's lift as its
inverse frequency: function words of any language, which are about as common in every group, weigh nothing. Counts texts
and not occurrences, so that one long prompt does not name a group. Knows nothing about how groups were made.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from router.model.tf_idf import TermCounts, count_terms

__all__ = ["NUM_TERMS", "terms_of"]

NUM_TERMS = 6
MIN_TEXTS = 2  # of a group that have the term
SPOKEN = re.compile(r"[^\W\d_]{3,}|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{2,}")  # short words say little but in CJK


def terms_of(texts: Sequence[str], groups: NDArray[np.integer]) -> list[list[str]]:
    """Return the terms of each group, the most characteristic first; texts of a negative group are not read."""
    read = np.flatnonzero(groups >= 0)
    counted = shown(count_terms([texts[row] for row in read.tolist()]))
    num_groups = int(groups.max(initial=-1)) + 1
    one_hot = csr_matrix(
        (np.ones(len(read), np.float32), (groups[read], np.arange(len(read)))), shape=(num_groups, len(read))
    )
    presence = counted.matrix.copy()
    presence.data[:] = 1
    numbers = np.asarray((one_hot @ presence).todense())  # (groups, terms) texts that have the term
    sizes = np.bincount(groups[read], minlength=num_groups)[:, None]
    within, outside = numbers / np.maximum(sizes, 1), numbers.sum(axis=0) - numbers
    others = (outside + 1) / (len(read) - sizes + 1)
    weights = within * np.log(np.maximum(within / others, 1))
    weights[numbers < MIN_TEXTS] = 0
    return [best(row, counted.terms) for row in weights]


def shown(counted: TermCounts) -> TermCounts:
    """Return the counts of terms that are words, in several texts, and no function words of English."""
    frequency = np.bincount(counted.matrix.indices, minlength=len(counted.terms))
    chosen = [
        column
        for column, term in enumerate(counted.terms.tolist())
        if frequency[column] >= MIN_TEXTS and all(is_telling(word) for word in term.split(" "))
    ]
    return TermCounts(counted.matrix[:, chosen], counted.terms[chosen])


def is_telling(word: str) -> bool:
    return bool(SPOKEN.fullmatch(word)) and word not in ENGLISH_STOP_WORDS


def best(weights: NDArray[np.floating], terms: NDArray[np.str_]) -> list[str]:
    """Return the heaviest terms, none of whose words stands in one before it."""
    found: list[str] = []
    for column in np.argsort(-weights, kind="stable").tolist():
        if weights[column] <= 0 or len(found) == NUM_TERMS:
            break
        words = set(terms[column].split(" "))
        if not any(words & set(term.split(" ")) for term in found):
            found.append(str(terms[column]))
    return found
