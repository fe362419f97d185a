"""The paired bootstrap on cases whose answer is known."""

from __future__ import annotations

import random

import pytest

from examples.demo.bootstrap import bootstrap


def test_equal_systems_have_an_interval_of_zero() -> None:
    assert bootstrap([[0.0] * 50], seed=0) == (0.0, 0.0, 0.0)


def test_the_interval_of_a_proportion_is_that_of_the_normal_approximation() -> None:
    gains = [1.0] * 100 + [0.0] * 300
    found = bootstrap([gains], seed=0)
    half = 1.96 * (0.25 * 0.75 / 400) ** 0.5
    assert found.mean == 0.25
    assert found.low == pytest.approx(0.25 - half, abs=0.005)
    assert found.high == pytest.approx(0.25 + half, abs=0.005)


def test_noise_around_zero_is_not_called_better() -> None:
    rng = random.Random(0)
    found = bootstrap([[rng.choice([-1.0, 0.0, 1.0]) for _ in range(300)]], seed=0)
    assert found.low < 0 < found.high


def test_a_macro_average_weighs_domains_equally_whatever_their_size() -> None:
    found = bootstrap([[1.0] * 10, [0.0] * 1000], seed=0)
    assert found == (0.5, 0.5, 0.5)


def test_the_same_seed_gives_the_same_interval() -> None:
    gains = [0.0, 1.0, 0.5, -0.5] * 20
    assert bootstrap([gains], seed=3) == bootstrap([gains], seed=3)
    assert bootstrap([gains], seed=3) != bootstrap([gains], seed=4)


def test_nothing_to_resample_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        bootstrap([[]], seed=0)
