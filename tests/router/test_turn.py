"""The turn that is routed."""

from __future__ import annotations

from coe.types import Message
from router.turn import last_user_turn


def test_only_the_last_user_turn_counts() -> None:
    turns = (Message("user", "@sql a"), Message("assistant", "b"), Message("user", "c"), Message("assistant", "@sql d"))
    assert last_user_turn(turns) == "c"
    assert last_user_turn(turns[1:2]) == ""
