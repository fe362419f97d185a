"""Vectors around a centre are one long, segment by segment."""

from __future__ import annotations

import numpy as np

from router.model.centre import around


def test_each_segment_is_one_long_around_its_own_centre() -> None:
    vectors = np.array([[3.0, 4.0, 1.0, 1.0], [0.0, 1.0, 1.0, 3.0]])
    found = around(vectors, np.array([[0.0, 0.0], [1.0, 1.0]]))
    np.testing.assert_allclose(found, [[0.6, 0.8, 0.0, 0.0], [0.0, 1.0, 0.0, 1.0]])  # the centre has no direction


def test_one_centre_is_for_the_whole_vector() -> None:
    np.testing.assert_allclose(around(np.array([[4.0, 5.0]]), np.array([1.0, 1.0])), [[0.6, 0.8]])
