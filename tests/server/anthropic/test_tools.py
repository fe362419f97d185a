"""Anthropic's tools and choices mean what OpenAI's do."""

from __future__ import annotations

from typing import Any

import pytest

from coe.errors import InvalidRequestError
from coe.types import Tool, ToolChoice
from server.anthropic.tools import ChoiceField, ToolField, tool_choice_of, tools_of

TOOL = {"name": "f", "description": "does", "input_schema": {"type": "object"}, "cache_control": {"type": "ephemeral"}}


def tools(*fields: dict[str, Any]) -> tuple[Tool, ...]:
    return tools_of([ToolField.model_validate(each) for each in fields])


def test_a_tool_is_read() -> None:
    assert tools({**TOOL, "type": "custom", "strict": True}) == (Tool("f", "does", {"type": "object"}, True),)


@pytest.mark.parametrize(
    ("raw", "choice"),
    [
        ({"type": "auto"}, ToolChoice("auto")),
        ({"type": "none"}, ToolChoice("none")),
        ({"type": "any"}, ToolChoice("required")),
        ({"type": "tool", "name": "f"}, ToolChoice("required", "f")),
    ],
)
def test_choices(raw: dict[str, Any], choice: ToolChoice) -> None:
    assert tool_choice_of(ChoiceField.model_validate(raw), tools(TOOL)) == choice


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="a tool of type 'web_search_20250305'"):
        tools({"type": "web_search_20250305", "name": "web_search"})
    with pytest.raises(InvalidRequestError, match="'f' twice"):
        tools(TOOL, TOOL)
    with pytest.raises(InvalidRequestError, match="needs tools"):
        tool_choice_of(ChoiceField(type="any"), ())
    with pytest.raises(InvalidRequestError, match="names 'g', which is not in tools"):
        tool_choice_of(ChoiceField(type="tool", name="g"), tools(TOOL))
