"""A conversation goes on, and a line that begins with / is a command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from coe.cli.chat.session import Session, Turn
from coe.client import Answer, Choice
from coe.types import Decision, Switch, SwitchKind, Tier

DECISION = Decision("code", "code", 0.9, "category", "", {"code": 0.9, "sql": 0.1}, because="category code at 0.90")
ANSWER = Answer((Choice("hi", "stop"),), DECISION, Tier.DEVICE, None, Switch(SwitchKind.DEVICE_HIT, 0, 0, 0, 0))


def never(_: Sequence[Turn], __: str) -> Decision:
    raise AssertionError("nobody asks the router")


def session(expert: str = "auto", system: str = "") -> Session:
    return Session(["coe", "general", "Code", "sql"], never, expert=expert, system=system)


def test_turns_follow_each_other_after_the_system_prompt() -> None:
    talk = session(system="Be brief.")
    talk.take("hello", ANSWER)
    assert talk.messages("more") == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "hi"},
        {"role": "user", "content": "more"},
    ]
    assert talk.command("/system   Be long. ").text == "the system prompt is set"
    assert talk.messages("x")[0] == {"role": "system", "content": "Be long."}
    assert talk.command("/system").text == "there is no system prompt"
    assert talk.command("/clear").text == "the conversation is forgotten"
    assert talk.messages("x") == [{"role": "user", "content": "x"}]


def test_what_was_stopped_is_said_as_far_as_it_came() -> None:
    talk = session()
    talk.take_stopped("hello", "")
    assert len(talk.messages("x")) == 1
    talk.take_stopped("hello", "h")
    assert [turn["content"] for turn in talk.messages("x")] == ["hello", "h", "x"]


def test_an_expert_is_chosen_in_any_case_and_left_again() -> None:
    talk = session()
    assert (talk.model, talk.greeting) == ("coe", "3 experts; /help for commands")
    assert (talk.command("/expert code").text, talk.model) == ("Code answers", "Code")
    assert talk.command("/expert").text == "Code; there are general, Code, sql"
    assert talk.command("/expert cod").text == "there is no expert 'cod'; did you mean 'Code'?"
    assert talk.model == "Code"
    assert (talk.command("/expert auto").text, talk.model) == ("the router chooses", "coe")
    assert (session(expert="SQL").model, session(expert="SQL").is_known) == ("sql", True)
    assert not session(expert="nobody").is_known


def test_why_shows_the_last_decision() -> None:
    talk = session()
    assert talk.command("/why").text == "nothing is answered yet"
    talk.take("hello", ANSWER)
    said = talk.command("/why").text
    assert "because   category code at 0.90" in said
    assert "0.900  code" in said


def test_why_asks_the_router_where_the_answer_does_not_say() -> None:
    asked: list[tuple[Sequence[Turn], str]] = []

    def route(messages: Sequence[Turn], model: str) -> Decision:
        asked.append((messages, model))
        return DECISION

    talk = Session(["coe", "code"], route)
    talk.take("hello", replace(ANSWER, decision=Decision("code", "code", 0.9, "category", "")))
    assert "because   category code at 0.90" in talk.command("/why").text
    assert asked == [([{"role": "user", "content": "hello"}], "coe")]


@pytest.mark.parametrize(("line", "hint"), [("/wy", "did you mean '/why'?"), ("/zzz", "commands: /clear, /expert")])
def test_a_misspelt_command_is_said_with_the_nearest(line: str, hint: str) -> None:
    assert hint in session().command(line).text


def test_help_names_every_command_and_quit_ends() -> None:
    said = session().command("/help").text
    assert all(name in said for name in ("/expert", "/why", "/system", "/clear", "/quit"))
    assert session().command("/quit").is_end
    assert not session().command("/help").is_end
    assert "/expert sql" in session().words
