"""Calls of tools as what a turn says, in the form in which the model writes them, for templates that show only that.

The published templates of Granite 3 and LFM2 show tools and results and leave it to the caller to write past calls.
Pure: turns as a template gets them in, the same without `tool_calls` out. Knows nothing about templates and tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from coe.text.output.call_formats import CallFormatName

__all__ = ["WRITABLE", "with_written_calls"]

WRITABLE: frozenset[CallFormatName] = frozenset({"hermes", "granite", "pythonic"})


def with_written_calls(turns: Sequence[Mapping[str, Any]], form: CallFormatName) -> list[dict[str, Any]]:
    """Return the turns with their calls after what they say; `form` is one of WRITABLE."""
    return [_written(turn, form) if turn.get("tool_calls") else dict(turn) for turn in turns]


def _written(turn: Mapping[str, Any], form: CallFormatName) -> dict[str, Any]:
    functions = [call["function"] for call in turn["tool_calls"]]
    said = {key: value for key, value in turn.items() if key != "tool_calls"}
    return {**said, "content": "\n".join(filter(None, (turn["content"], _calls(functions, form))))}


def _calls(functions: Sequence[Mapping[str, Any]], form: CallFormatName) -> str:
    if form == "pythonic":
        return f"<|tool_call_start|>[{', '.join(map(_python_call, functions))}]<|tool_call_end|>"
    written = [_json({"name": each["name"], "arguments": each["arguments"]}) for each in functions]
    if form == "granite":
        return f"<|tool_call|>[{', '.join(written)}]"
    return "\n".join(f"<tool_call>\n{each}\n</tool_call>" for each in written)


def _python_call(function: Mapping[str, Any]) -> str:
    arguments = function["arguments"]
    given = arguments.items() if isinstance(arguments, Mapping) else ()
    return f"{function['name']}({', '.join(f'{key}={value!r}' for key, value in given)})"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
