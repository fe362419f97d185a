"""Calls of tools in JSON: one object, a list of them, or several after each other.

An object names the function and has its arguments, under the words that the families use. Raises nothing: what is no
call is None.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from coe.text.output.parts import Called

__all__ = ["JsonRead", "arguments_text", "call_of", "calls_in", "decoded"]

NAMES = ("name", "tool_name", "function")
ARGUMENTS = ("arguments", "parameters", "args", "input")
_BETWEEN = re.compile(r"[\s,;]*")
_DECODER = json.JSONDecoder(strict=False, parse_constant=lambda name: _refuse(name))


class JsonRead(NamedTuple):
    """A JSON value at a place of a text, and the place after it."""

    value: Any
    end: int


def calls_in(text: str) -> tuple[tuple[Called, ...], str]:
    """Return the calls that a text begins with, and the rest of it; no calls where one of them is none."""
    calls: list[Called] = []
    place = _BETWEEN.match(text).end()  # type: ignore[union-attr]  # it matches the empty text
    while (read := decoded(text, place)) is not None:
        values = read.value if isinstance(read.value, list) else [read.value]
        found = [call_of(value) for value in values]
        if not found or None in found:
            break
        calls += [call for call in found if call is not None]
        place = _BETWEEN.match(text, read.end).end()  # type: ignore[union-attr]
    return tuple(calls), text[place:]


def call_of(value: Any) -> Called | None:
    """Return the call that a JSON value is."""
    if not isinstance(value, Mapping):
        return None
    if isinstance(value.get("function"), Mapping):
        value = value["function"]
    name = next((value[key] for key in NAMES if isinstance(value.get(key), str)), "")
    given = [value[key] for key in ARGUMENTS if key in value]
    arguments = arguments_text(given[0] if given else {})
    return Called(name, arguments) if name and arguments is not None else None


def arguments_text(value: Any) -> str | None:
    """Return arguments as JSON text: an object, or text that is one already; None for anything else."""
    if isinstance(value, str):
        read = decoded(value.strip(), 0) if value.strip() else JsonRead({}, 0)
        if read is None or value.strip()[read.end :]:
            return None
        value = read.value
    if not isinstance(value, Mapping):
        return None
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):  # a number beyond a float's range
        return None


def decoded(text: str, place: int) -> JsonRead | None:
    """Return the JSON value at a place of a text; control characters inside strings are let pass, as models write."""
    try:
        return JsonRead(*_DECODER.raw_decode(text, place))
    except (ValueError, RecursionError):
        return None


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")
