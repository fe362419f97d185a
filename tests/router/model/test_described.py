"""Described categories and trained ones make one distribution."""

from __future__ import annotations

import numpy as np

from router.model.category_model import CategoryModel
from router.model.described import DescribedCategories
from router.model.layers import LinearLayer

LN = np.log
# own categories: garden, general, law at .5, .3, .2; trained ones: code, law
MODEL = CategoryModel(LinearLayer(np.zeros((3, 2)), LN(np.array([0.5, 0.3, 0.2]))))
TRAINED = np.array([[0.8, 0.2]])


def described(objection: list[list[float]]) -> DescribedCategories:
    return DescribedCategories(MODEL, 1.0, 1, np.array([2, 1]), np.array(objection), 3)


def joined(objection: list[list[float]]) -> list[float]:
    shares: list[float] = described(objection).joined(TRAINED, np.zeros((1, 2)), [""])[0].tolist()
    return shares


def test_the_trained_router_shares_out_what_is_general() -> None:
    np.testing.assert_allclose(joined([[0, 0], [0, 0]]), [0.3 * 0.8, 0.3 * 0.2 + 0.2, 0.5])


def test_what_the_trained_router_sees_counts_against_a_described_category() -> None:
    garden, law = 0.5 * (1 - 0.8), 0.2
    rest = 1 - garden - law
    np.testing.assert_allclose(joined([[1, 0], [0, 0]]), [rest * 0.8, rest * 0.2 + law, garden])
    assert sum(joined([[1, 1], [1, 0.5]])) == 1.0


def test_the_temperature_is_the_described_models_own() -> None:
    sharp = DescribedCategories(MODEL, 0.01, 1, np.array([2, 1]), np.zeros((2, 2)), 3)
    np.testing.assert_allclose(sharp.joined(TRAINED, np.zeros((1, 2)), [""])[0], [0, 0, 1], atol=1e-6)
