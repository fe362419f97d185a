"""TF-IDF: punctuation counts, both ends of a long text are read, counted texts score like plain ones."""

from __future__ import annotations

import numpy as np
import pytest

from router.model.layers import LinearLayer
from router.model.tf_idf import TfIdfModel, count_terms, tf_idf

TEXTS = ["Sum it up: a, b?", "SELECT a FROM b;", "sum a b b", ""]


def test_marks_words_and_pairs_are_terms_in_any_case() -> None:
    terms = set(count_terms(TEXTS).terms.tolist())
    assert {"sum", "?", ";", "a ,", "select a", "b b"} <= terms
    assert not {"SELECT", "Sum"} & terms


def test_of_a_long_text_both_ends_are_counted() -> None:
    text = "first " + "filler " * 1000 + "last \ud800"
    terms = count_terms([text]).terms.tolist()
    assert {"first", "last"} <= set(terms)
    assert count_terms([text]).matrix.sum() < 700


def test_rows_have_length_one_and_a_repeated_term_counts_by_its_logarithm() -> None:
    counts = count_terms(TEXTS)
    idf = np.ones(len(counts.terms))
    rows = tf_idf(counts.matrix, idf).toarray()
    np.testing.assert_allclose((rows**2).sum(axis=1), [1, 1, 1, 0], atol=1e-6)
    a, b = (counts.terms.tolist().index(term) for term in "ab")
    assert rows[2, b] / rows[2, a] == pytest.approx(1 + np.log(2))


def test_counted_texts_score_like_plain_ones() -> None:
    counts = count_terms(TEXTS)
    terms = counts.terms[::2]
    rng = np.random.default_rng(0)
    layer = LinearLayer(rng.normal(size=(3, len(terms))), rng.normal(size=3))
    model = TfIdfModel(terms, rng.random(len(terms)) + 1, layer)
    np.testing.assert_allclose(model.logits_of(counts), model.logits(TEXTS), atol=1e-6)
    assert TfIdfModel.from_arrays({}) is None
