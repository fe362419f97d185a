"""A system turn stands above the user's; a blank one is nothing."""

from __future__ import annotations

import pytest

from router.model.system_turn import under_system


@pytest.mark.parametrize(
    ("system", "expected"),
    [("You are SQLBot. ", "You are SQLBot.\n\ntop 5"), ("", "top 5"), (" \n", "top 5")],
)
def test_the_system_turn_comes_first(system: str, expected: str) -> None:
    assert under_system(system, "top 5") == expected
