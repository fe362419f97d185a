"""A training set keeps its numbering, and knows which families can be held out."""

from __future__ import annotations

import numpy as np
from router_fakes import FakeEncoder

from router.labelled.prompts import Prompt
from router.training.training_set import TrainingSet


def test_a_family_is_separable_if_its_one_category_has_another() -> None:
    families = [("a", "one"), ("a", "two"), ("b", "alone"), ("c", "both"), ("d", "both"), ("c", "other")]
    rows = TrainingSet.of([Prompt(f"text {c} {f}", c, family=f) for c, f in families], FakeEncoder())
    assert rows.is_separable.tolist() == [True, True, False, False, False, True]
    assert rows.family_groups[:2].tolist() == ["family one", "family two"]
    assert rows.family_groups[2] == rows.groups[2]


def test_some_rows_keep_the_numbers_of_categories_and_terms() -> None:
    prompts = [Prompt("red sum", "math"), Prompt("red select", "sql"), Prompt("blue select", "sql")]
    rows = TrainingSet.of(prompts, FakeEncoder())
    some = rows.take(np.array([2]))
    assert some.categories == rows.categories == ("math", "sql")
    assert some.labels.tolist() == [1]
    assert some.term_counts.terms.tolist() == rows.term_counts.terms.tolist()
    assert (some.term_counts.matrix != rows.term_counts.matrix[[2]]).nnz == 0
