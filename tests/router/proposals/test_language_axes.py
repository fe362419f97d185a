"""What differs by language alone is taken out, and topics stay."""

from __future__ import annotations

import numpy as np
from router_fakes import HIDDEN, FakeEncoder

from router.model.centre import around
from router.proposals.language_axes import Frame, language_axes


def test_axes_are_few_and_at_right_angles() -> None:
    axes = language_axes(FakeEncoder())
    assert axes.shape == (HIDDEN // 8, HIDDEN)
    assert np.allclose(axes @ axes.T, np.eye(len(axes)), atol=1e-5)


def test_the_same_topic_in_two_languages_is_the_same_vector() -> None:
    rng = np.random.default_rng(0)
    topics, language = rng.normal(size=(6, 8)), np.eye(8)[0]
    frame = Frame(np.zeros(8), language[None])
    one, other = frame.seen(topics + 3 * language), frame.seen(topics - 5 * language)
    assert np.allclose(one, other)
    assert np.allclose(np.linalg.norm(one, axis=1), 1)
    assert not np.allclose(around(topics + 3 * language, np.zeros(8)), around(topics - 5 * language, np.zeros(8)))
