"""What messages are made of, and that a user of the package finds every error where the client is."""

from __future__ import annotations

import coe
from coe import errors
from coe.errors import CoeError, nearest


def test_what_is_near_is_suggested_and_else_all_is_listed() -> None:
    assert nearest("cash", ["cache", "server"], "known tables") == "did you mean 'cache'?"
    assert nearest("zzz", ["cache", "server"], "known tables") == "known tables: cache, server"


def test_names_are_suggested_as_they_are_written_and_listed_once() -> None:
    assert nearest("MATHS", ["Math", "sql"], "experts") == "did you mean 'Math'?"
    assert nearest("zzz", ["sql", "Math", "sql"], "experts") == "experts: Math, sql"


def test_a_long_word_is_compared_by_its_beginning() -> None:
    assert nearest("x" * 1_000_000, ["sql"], "experts") == "experts: sql"


def test_every_error_can_be_caught_by_a_user_of_the_client() -> None:
    raised = {name for name in errors.__all__ if isinstance(getattr(errors, name), type)}
    assert all(issubclass(getattr(errors, name), CoeError) for name in raised)
    assert raised <= set(coe.__all__)
