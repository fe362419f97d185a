"""A follow-up is known by its words and by its nearness to the turn before."""

from __future__ import annotations

import numpy as np
import pytest

from router.model.follow_up import FollowUpModel

MODEL = FollowUpModel(np.array([0.5, 0.5]), np.array([0.0, 0.0, 3.0]), -1.0)  # cosine alone


def test_nearness_to_the_turn_before_makes_a_follow_up() -> None:
    second = np.array([[1.0, 0.5]] * 3)
    first = np.array([[2.0, 0.5], [-1.0, 0.5], [0.0, 0.0]])  # the same way from the centre, the other way, unknown
    near, far, unknown = MODEL.chances(first, second).tolist()
    assert (near, far) == (pytest.approx(1 / (1 + np.exp(-5))), pytest.approx(1 / (1 + np.exp(7))))
    assert unknown == pytest.approx(1 / (1 + np.exp(1)))


def test_it_comes_back_from_its_arrays() -> None:
    again = FollowUpModel.from_arrays(MODEL.arrays())
    first, second = np.random.default_rng(0).normal(size=(2, 5, 2))
    np.testing.assert_allclose(again.chances(first, second), MODEL.chances(first, second), rtol=1e-6)
    with pytest.raises(KeyError):
        FollowUpModel.from_arrays({})
