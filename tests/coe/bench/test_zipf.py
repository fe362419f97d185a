"""Zipf's law."""

from __future__ import annotations

import pytest

from coe.bench.zipf import zipf


@pytest.mark.parametrize("exponent", [0.0, 0.8, 1.2])
def test_shares_sum_to_one_and_fall_as_the_law_says(exponent: float) -> None:
    shares = zipf(exponent, 10)
    assert sum(shares) == pytest.approx(1.0)
    assert shares[0] / shares[4] == pytest.approx(5**exponent)
