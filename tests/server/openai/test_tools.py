"""Tools and the choice of them in OpenAI's shape: what arrives, what is refused by name."""

from __future__ import annotations

import re
from typing import Any

import pytest

from coe.errors import InvalidRequestError
from coe.types import GenerateRequest, Tool, ToolChoice
from server.bodies import validated
from server.openai.requests import ChatRequest

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def function(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **more}}


WEATHER, TIME = function("weather", description="Now", parameters=PARAMETERS, strict=True), function("time")


def asked(**fields: Any) -> GenerateRequest:
    body = {"messages": [{"role": "user", "content": "hello"}], "tools": [WEATHER, TIME], **fields}
    return validated(ChatRequest, body).generate_request("id")


def test_functions_arrive() -> None:
    assert asked().tools == (Tool("weather", "Now", PARAMETERS, is_strict=True), Tool("time"))
    assert asked(tools=[function("f", description=None, parameters=None, strict=None)]).tools == (Tool("f"),)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, ToolChoice()),
        ("auto", ToolChoice()),
        ("none", ToolChoice("none")),
        ("required", ToolChoice("required")),
        ({"type": "function", "function": {"name": "time"}}, ToolChoice("required", "time")),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [function("time")]}},
            ToolChoice("required", None, ("time",)),
        ),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "time"}]},
            ToolChoice("auto", None, ("time",)),
        ),
    ],
)
def test_every_choice_arrives(choice: Any, expected: ToolChoice) -> None:
    assert asked(tool_choice=choice).tool_choice == expected


def test_a_choice_says_which_tools_may_be_called() -> None:
    assert [ToolChoice("auto", None, ("a",)).may_call(name) for name in "ab"] == [True, False]
    assert [ToolChoice("required", "a").may_call(name) for name in "ab"] == [True, False]
    assert ToolChoice().may_call("a")
    assert not ToolChoice("none").may_call("a")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools has a tool of type 'web_search'; only tools of type 'function'"),
        ({"tools": [TIME, TIME]}, "tools has 'time' twice"),
        ({"tools": [function("a b")]}, "tools.0.function.name: String should match pattern"),
        ({"tools": [function("f")] * 1025}, "tools has 1025 tools; send at most 1024"),
        ({"tool_choice": "any"}, "tool_choice = 'any' is none of none, auto, required"),
        ({"tool_choice": {"type": "mcp"}}, 'tool_choice = \'{"type": "mcp"}\' is none of'),
        (
            {"tool_choice": {"type": "function", "function": {"name": "tame"}}},
            "tool_choice names 'tame', which is not in",
        ),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"tools": []}}}, "needs a list of tools"),
        ({"tools": None, "tool_choice": "required"}, "tool_choice = 'required' needs tools"),
    ],
)
def test_what_names_no_tool_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=re.escape(message)):
        asked(**fields)
