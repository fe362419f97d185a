"""The nearest kept prompt: by the least cosine of its parts, and only where the marks are the same."""

from __future__ import annotations

import numpy as np
import pytest

from coe.answers.nearest import cosines, nearest


def unit(angle: float) -> bytes:
    return np.array([np.cos(angle), np.sin(angle)], np.float32).tobytes()


def test_two_texts_are_as_near_as_their_farthest_parts() -> None:
    near = cosines((unit(0.0), unit(0.0)), [(unit(0.1), unit(0.3)), (unit(0.0), unit(0.0))])
    assert near.tolist() == pytest.approx([np.cos(0.3), 1.0])


def test_the_nearest_one_whose_marks_agree_is_found() -> None:
    texts = ["about 3 cats", "about 4 cats", "of 4 cats"]
    vectors = [(unit(0.0),), (unit(0.2),), (unit(0.1),)]
    found = nearest("4 cats", (unit(0.0),), texts, vectors, 0.9)
    assert found is not None
    assert found.at == 2
    assert found.cosine == pytest.approx(np.cos(0.1))


def test_below_the_threshold_there_is_none() -> None:
    assert nearest("a", (unit(0.0),), ["b"], [(unit(0.5),)], 0.9) is None
    assert nearest("a", (unit(0.0),), [], [], 0.9) is None


def test_a_vector_that_is_no_number_is_near_nothing() -> None:
    broken = np.full(2, np.nan, np.float32).tobytes()
    assert nearest("a", (broken,), ["a"], [(unit(0.0),)], 0.9) is None
    assert nearest("a", (unit(0.0),), ["a"], [(broken,)], 0.9) is None
