"""Counts are whole numbers that are large enough."""

from __future__ import annotations

import argparse

import pytest

from coe.bench.arguments import at_least


@pytest.mark.parametrize("text", ["2", "17"])
def test_a_large_enough_whole_number_is_taken(text: str) -> None:
    assert at_least(2)(text) == int(text)


@pytest.mark.parametrize("text", ["1", "0", "-3", "2.5", "two", "", "²"])
def test_anything_else_is_refused_by_name(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"'{text}' is no whole number of at least 2"):
        at_least(2)(text)
