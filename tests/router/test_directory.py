"""Names: aliases in any case, and what a leading mention names."""

from __future__ import annotations

import pytest

from coe.errors import UnknownExpertError
from router.directory import Directory, Mention

DIRECTORY = Directory({"general": "general", "sql": "sql", "Database": "sql", "c++": "cpp"}, "general")


@pytest.mark.parametrize(
    ("text", "expert", "rest"),
    [
        ("@sql list all", "sql", "list all"),
        ("@SQL, list all", "sql", "list all"),
        ("  @database:\nlist all", "sql", "list all"),
        ("@c++ why", "cpp", "why"),
        ("@sql", "sql", ""),
    ],
)
def test_a_leading_mention_is_stripped(text: str, expert: str, rest: str) -> None:
    assert DIRECTORY.mention(text) == Mention(expert, rest)


@pytest.mark.parametrize("text", ["@dave hello", "mail me @sql", "@ sql", "sql@sql.org"])
def test_an_at_sign_that_names_no_expert_in_front_is_left_alone(text: str) -> None:
    assert DIRECTORY.mention(text) is None


@pytest.mark.parametrize(
    "code", ["def f():\n    pass", "async def f(): ...", "@cache\ndef f(): ...", "class A:", "public void run() {"]
)
def test_a_decorator_above_code_is_no_mention(code: str) -> None:
    assert DIRECTORY.mention(f"@sql\n{code}\n\nwhat is wrong?") is None
    assert DIRECTORY.mention(f"@sql what is wrong?\n{code}") is not None
    assert DIRECTORY.mention("@sql\nlist all") == Mention("sql", "list all")


def test_an_alias_names_its_expert_in_any_case() -> None:
    assert DIRECTORY.resolve("DATABASE") == DIRECTORY.requested("DataBase") == "sql"
    assert DIRECTORY.resolve("CPP") == "cpp"  # an expert's own name, too


def test_an_unknown_name_is_an_error_of_whoever_gave_it() -> None:
    """A configuration's is a ValueError, which the command line names; a request's has an HTTP status."""
    with pytest.raises(ValueError, match="rule 1 expert 'oracle': no such expert; known experts: cpp, general, sql"):
        DIRECTORY.resolve("oracle", "rule 1 expert")
    with pytest.raises(UnknownExpertError, match="there is no expert 'oracle'; the experts are: cpp, general, sql"):
        DIRECTORY.requested("oracle")


def test_an_unknown_general_expert_is_refused() -> None:
    with pytest.raises(ValueError, match="general 'boss': no such expert"):
        Directory({"a": "a"}, "boss")


@pytest.mark.parametrize(
    "text", [" " * 8_000_000, "@" + "s" * 8_000_000, " " * 998 + "@sqlx"], ids=["blanks", "name", "cut"]
)
def test_only_the_beginning_of_a_text_is_searched_for_a_mention(text: str) -> None:
    assert DIRECTORY.mention(text) is None
