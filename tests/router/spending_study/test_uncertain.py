"""Families are held out whole, and few unsure prompts of each are asked about."""

from __future__ import annotations

import numpy as np
import pytest

from router.spending_study.uncertain import least_sure, out_of_family

RNG = np.random.default_rng(0)
LABELS = np.array(["x", "y"] * 100)
FAMILIES = np.array([f"{label}{row % 10}" for row, label in enumerate(LABELS)])


def test_clear_categories_are_found_in_families_never_seen() -> None:
    vectors = np.column_stack([LABELS == "x", RNG.random(200)]).astype(float)
    found = out_of_family(vectors, LABELS, FAMILIES)
    assert found.categories == ("x", "y")
    assert (found.log_probabilities.argmax(axis=1) == (LABELS == "y")).all()
    assert np.allclose(np.exp(found.log_probabilities).sum(axis=1), 1)


def test_a_family_tells_nothing_about_itself() -> None:
    """Each family has a direction of its own, half of it per category: what marks it is noise to the others."""
    families = np.repeat([f"f{number}" for number in range(10)], 20)
    labels = np.array(["x", "y"])[(np.arange(200) // 20) % 2]
    vectors = np.eye(10)[np.arange(200) // 20]
    found = out_of_family(vectors, labels, families)
    assert (found.log_probabilities.argmax(axis=1) == (labels == "y")).mean() <= 0.6


def test_a_category_of_one_family_is_refused_by_name() -> None:
    families = np.where(LABELS == "x", "only", FAMILIES)
    with pytest.raises(ValueError, match="category 'x' has one family or few"):
        out_of_family(RNG.random((200, 2)), LABELS, families)


def test_the_unsure_are_few_of_each_family_and_below_the_threshold() -> None:
    likeliest = np.where(np.arange(200) < 100, 0.9, 0.5)
    chances = np.log(np.column_stack([likeliest, 1 - likeliest]))
    rows = least_sure(chances, FAMILIES, 0.6, 15, 2)
    assert len(rows) == 15
    assert (rows >= 100).all()
    assert max(np.unique(FAMILIES[rows], return_counts=True)[1]) <= 2
    assert len(least_sure(chances, FAMILIES, 0.4, 15, 2)) == 0
