"""Which form of tools a chat template takes, found by rendering: once per template, at start.

A template knows tools if the name of one that is offered appears in its text, and takes a form of turns if a call's
name and arguments and what came of it appear there, the arguments as JSON. Knows nothing about experts.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from coe.text.rendering import OverrunError, RefusedError, TooLongError, renderer
from coe.text.tool_turns import PLAIN, ToolForm, template_tools, template_turns
from coe.types import Message, Tool, ToolCall

__all__ = ["tool_form_of"]

NAME, KEY, VALUE, RESULT = "coe_probe_tool", "coe_probe_key", "coe_probe_value", "coe_probe_result"
MAX_CHARS = 1 << 20
_TOOL = Tool(NAME, "A trial.", {"type": "object", "properties": {KEY: {"type": "string", "description": "A key."}}})
_ASKED = Message("user", "Hello")
_ID = "call_0123456789abcdef01234567"  # as long as OpenAI's
_CALLED = (
    _ASKED,
    Message("assistant", "", tool_calls=(ToolCall(_ID, NAME, f'{{"{KEY}": "{VALUE}"}}'),)),
    Message("tool", RESULT, tool_call_id=_ID, name=NAME),
)


@lru_cache(maxsize=64)  # adapters share their base's template
def tool_form_of(template: str, variables: tuple[tuple[str, str], ...]) -> ToolForm:
    """Return the form that a template takes, the usual one first; PLAIN for one that knows no tools."""
    given = {**dict(variables), "tools": template_tools([_TOOL])}
    if "tool" not in template or NAME not in _rendered(template, [_ASKED], given, PLAIN):
        return PLAIN
    for has_short_ids, has_null_content, has_argument_objects in itertools.product((False, True), repeat=3):
        form = ToolForm(True, not has_argument_objects, has_null_content, has_short_ids)
        if _is_taken(_rendered(template, _CALLED, given, form)):
            return form
    return PLAIN


def _is_taken(text: str) -> bool:
    """Return whether all of a call and its result are in the text, and its arguments neither Python's nor escaped."""
    is_complete = all(each in text for each in (KEY, VALUE, RESULT)) and text.count(NAME) > 1
    return is_complete and f"'{KEY}'" not in text and f'\\"{KEY}' not in text


def _rendered(template: str, messages: Sequence[Message], given: Mapping[str, Any], form: ToolForm) -> str:
    """Return the text, "" where the template does not take it."""
    try:
        return renderer().render(template, template_turns(messages, form), given, max_chars=MAX_CHARS)
    except (RefusedError, TooLongError, OverrunError):
        return ""
