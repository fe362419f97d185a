"""What needs no classifier: an expert named by the client, a mention, the general expert."""

from __future__ import annotations

import pytest
from router_fakes import ask

from coe.errors import UnknownExpertError
from coe.types import Message, RouteQuery
from router import Decision, GeneralOnly
from router.directory import Directory
from router.turn import last_user_turn

NAMES = {"general": "general", "sql": "sql", "Database": "sql", "c++": "cpp"}


@pytest.fixture
def router() -> GeneralOnly:
    return GeneralOnly(general="general", names=NAMES)


def one(router: GeneralOnly, query: RouteQuery) -> Decision:
    return router.route([query])[0]


def test_an_explicit_expert_wins_over_a_mention(router: GeneralOnly) -> None:
    decision = one(router, ask("@sql list all", expert="general"))
    assert (decision.expert, decision.why, decision.text) == ("general", "model", "@sql list all")


def test_an_alias_names_its_expert_in_any_case(router: GeneralOnly) -> None:
    assert one(router, ask("x", expert="DATABASE")).expert == "sql"


def test_an_unknown_explicit_expert_is_refused_by_name(router: GeneralOnly) -> None:
    with pytest.raises(UnknownExpertError, match="there is no expert 'oracle'; the experts are: cpp, general, sql"):
        one(router, ask("x", expert="oracle"))


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
def test_a_leading_mention_is_stripped(router: GeneralOnly, text: str, expert: str, rest: str) -> None:
    decision = one(router, ask(text))
    assert (decision.expert, decision.why, decision.text) == (expert, "mention", rest)


@pytest.mark.parametrize("text", ["@dave hello", "mail me @sql", "@ sql", "sql@sql.org"])
def test_an_at_sign_that_names_nobody_in_front_is_left_alone(router: GeneralOnly, text: str) -> None:
    decision = one(router, ask(text))
    assert (decision.expert, decision.why, decision.text) == ("general", "general", text)


def test_only_the_last_user_turn_counts() -> None:
    turns = (Message("user", "@sql a"), Message("assistant", "b"), Message("user", "c"), Message("assistant", "@sql d"))
    assert last_user_turn(turns) == "c"
    assert last_user_turn(turns[1:2]) == ""


def test_no_user_turn_goes_to_the_general_expert(router: GeneralOnly) -> None:
    decision = one(router, RouteQuery((Message("system", "@sql"),)))
    assert (decision.expert, decision.category, decision.why) == ("general", None, "general")


def test_a_general_expert_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="general 'boss': no such expert"):
        Directory({"a": "a"}, "boss")
