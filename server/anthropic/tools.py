"""Tools and the choice of them in Anthropic's shape.

Tools of the client's own are supported; those that Anthropic runs or defines are refused by name. Knows nothing about
the rest of a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from coe.errors import InvalidRequestError, shown
from coe.types import Tool, ToolChoice
from server.openai.fields import FromJson
from server.openai.tools import TOOL_NAME, checked, choice_of

__all__ = ["ChoiceField", "ToolField", "tool_choice_of", "tools_of"]


class ToolField(FromJson):
    """One tool that the model may call. Anthropic's hints beside these fields are ignored."""

    type: str = "custom"
    name: str = Field(pattern=TOOL_NAME)
    description: str = ""
    input_schema: dict[str, Any]
    strict: bool = False

    @model_validator(mode="before")
    @classmethod
    def _refuse_other_types(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and raw.get("type") not in (None, "custom"):
            raise InvalidRequestError(
                f"tools has a tool of type {shown(raw['type'])}; only tools of your own ('custom') are supported",
                param="tools",
            )
        return raw


class ChoiceField(FromJson):
    """Which tools may or must be called."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool = False


def tools_of(fields: Sequence[ToolField] | None) -> tuple[Tool, ...]:
    """Return the tools; raises InvalidRequestError as OpenAI's do."""
    return checked([Tool(each.name, each.description, each.input_schema, each.strict) for each in fields or ()])


def tool_choice_of(choice: ChoiceField | None, tools: Sequence[Tool]) -> ToolChoice:
    """Return the choice; raises InvalidRequestError for what names none of the tools."""
    if choice is None:
        return ToolChoice()
    if choice.type == "tool":
        return choice_of({"type": "function", "name": choice.name}, tools)
    if choice.type == "any" and not tools:
        raise InvalidRequestError("tool_choice of type 'any' needs tools; send some", param="tool_choice")
    return ToolChoice("required" if choice.type == "any" else choice.type)
