"""Tools and the choice of them in OpenAI's shape, read and checked.

Functions are supported; other types of tools are refused by name. Knows nothing about the rest of a request.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field, model_validator

from coe.errors import InvalidRequestError, shown
from coe.types import Tool, ToolChoice
from server.openai.fields import FromJson

__all__ = ["TOOL_NAME", "ToolField", "checked", "choice_of", "tools_of"]

MAX_TOOLS = 1024
TOOL_NAME = r"^[\w.:/-]{1,128}$"
_MODES = ("none", "auto", "required")


class _Function(FromJson):
    name: str = Field(pattern=TOOL_NAME)
    description: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)
    strict: bool = False


class ToolField(BaseModel):
    """One tool that the model may call."""

    type: str
    function: _Function

    @model_validator(mode="before")
    @classmethod
    def _refuse_other_types(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and isinstance(raw.get("type"), str) and raw["type"] != "function":
            raise InvalidRequestError(
                f"tools has a tool of type {shown(raw['type'])}; only tools of type 'function' are supported",
                param="tools",
            )
        return raw


def tools_of(fields: Sequence[ToolField] | None) -> tuple[Tool, ...]:
    """Return the tools; raises InvalidRequestError for two of one name, and for too many."""
    functions = [field.function for field in fields or ()]
    return checked([Tool(each.name, each.description, each.parameters, each.strict) for each in functions])


def checked(tools: Sequence[Tool]) -> tuple[Tool, ...]:
    """Return the tools as they are; raises InvalidRequestError for two of one name, and for too many."""
    if len(tools) > MAX_TOOLS:
        raise InvalidRequestError(f"tools has {len(tools)} tools; send at most {MAX_TOOLS}", param="tools")
    names: set[str] = set()
    for tool in tools:
        if tool.name in names:
            raise InvalidRequestError(f"tools has {shown(tool.name)} twice; send it once", param="tools")
        names.add(tool.name)
    return tuple(tools)


def choice_of(raw: str | dict[str, Any] | None, tools: Sequence[Tool]) -> ToolChoice:
    """Return which tools may or must be called; raises InvalidRequestError for what names none of them."""
    if raw is None:
        return ToolChoice()
    if isinstance(raw, str):
        return _of_mode(raw, tools)
    if raw.get("type") == "function":
        return ToolChoice("required", _name_in(raw, tools))
    if raw.get("type") == "allowed_tools":
        return _allowed(raw.get("allowed_tools", raw), tools)
    raise _wrong(raw)


def _of_mode(mode: str, tools: Sequence[Tool]) -> ToolChoice:
    if mode == "required":
        if not tools:
            raise InvalidRequestError("tool_choice = 'required' needs tools; send some", param="tool_choice")
        return ToolChoice("required")
    if mode in ("none", "auto"):
        return ToolChoice("none" if mode == "none" else "auto")
    raise _wrong(mode)


def _allowed(raw: Any, tools: Sequence[Tool]) -> ToolChoice:
    """Return OpenAI's choice of some of the tools: all are shown to the model, and these may be called."""
    if not isinstance(raw, dict) or not isinstance(raw.get("tools"), list) or not raw["tools"]:
        raise InvalidRequestError(
            "tool_choice of type 'allowed_tools' needs a list of tools; name at least one", param="tool_choice"
        )
    mode = _of_mode(raw.get("mode", "auto"), tools).mode
    return ToolChoice(mode, None, tuple(_name_in(each, tools) for each in raw["tools"]))


def _name_in(raw: Any, tools: Sequence[Tool]) -> str:
    """Return the name in {"type": "function", "function": {"name": …}}; Responses and Messages leave the middle out."""
    function = raw.get("function", raw) if isinstance(raw, dict) else {}
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str):
        raise _wrong(raw)
    if name not in {tool.name for tool in tools}:
        listed = ", ".join(tool.name for tool in tools[:10]) or "none"
        raise InvalidRequestError(
            f"tool_choice names {shown(name)}, which is not in tools ({listed}); send it there", param="tool_choice"
        )
    return name


def _wrong(raw: Any) -> InvalidRequestError:
    written = shown(raw if isinstance(raw, str) else json.dumps(raw))
    return InvalidRequestError(
        f"tool_choice = {written} is none of {', '.join(_MODES)}, a function and allowed_tools; send one of these",
        param="tool_choice",
    )
