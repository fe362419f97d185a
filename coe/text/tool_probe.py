"""Which form of tools a chat template takes, found by rendering: once per template, at start.

A template knows tools if the name of one that is offered appears in its text, and takes a form of turns if a call's
name and arguments and what came of it appear there, the arguments as JSON. A second call in a turn may be refused or
left out, and so may calls where no tools are on offer. Knows nothing about experts.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from coe.text.output.answer_form import form_named_in
from coe.text.rendering import OverrunError, RefusedError, TooLongError, renderer
from coe.text.tool_turns import PLAIN, ToolForm, template_tools, template_turns
from coe.text.written_calls import WRITABLE
from coe.types import Message, Tool, ToolCall

__all__ = ["tool_form_of"]

NAME, KEY, VALUE, RESULT = "coe_probe_tool", "coe_probe_key", "coe_probe_value", "coe_probe_result"
ARGUMENT, SECOND = "coe_probe_argument", "coe_probe_second"  # a call's key, and the value of another call in the turn
MAX_CHARS = 1 << 20
_TOOL = Tool(NAME, "A trial.", {"type": "object", "properties": {KEY: {"type": "string", "description": "A key."}}})
_ASKED = Message("user", "Hello")
_ID = "call_0123456789abcdef01234567"  # as long as OpenAI's
_CALL = ToolCall(_ID, NAME, f'{{"{ARGUMENT}": "{VALUE}"}}')
_OTHER = ToolCall(_ID[::-1], NAME, f'{{"{ARGUMENT}": "{SECOND}"}}')
_RESULT = Message("tool", RESULT, tool_call_id=_ID, name=NAME)
_CALLED = (_ASKED, Message("assistant", "", tool_calls=(_CALL,)), _RESULT)
_PARALLEL = (
    _ASKED,
    Message("assistant", "", tool_calls=(_CALL, _OTHER)),
    _RESULT,
    Message("tool", RESULT, tool_call_id=_OTHER.id, name=NAME),
)
_SAID = (_ASKED, Message("assistant", VALUE), _RESULT)


@lru_cache(maxsize=64)  # adapters share their base's template
def tool_form_of(template: str, variables: tuple[tuple[str, str], ...]) -> ToolForm:
    """Return the form that a template takes, the usual one first; PLAIN for one that knows no tools."""
    given = {**dict(variables), "tools": template_tools([_TOOL])}
    if "tool" not in template or NAME not in _rendered(template, [_ASKED], given, PLAIN):
        return PLAIN
    for has_short_ids, has_null_content, has_argument_objects in itertools.product((False, True), repeat=3):
        form = ToolForm(True, not has_argument_objects, has_null_content, has_short_ids)
        if _is_taken(_rendered(template, _CALLED, given, form)):
            return _with_limits(form, template, given)
    said = _rendered(template, _SAID, given, PLAIN)
    if VALUE in said and RESULT in said and form_named_in(template) in WRITABLE:
        return ToolForm(has_written_calls=True)
    return PLAIN


def _with_limits(form: ToolForm, template: str, given: Mapping[str, Any]) -> ToolForm:
    """Return the form with what the template takes in it only sometimes."""
    both = _rendered(template, _PARALLEL, given, form)
    alone = _rendered(template, _CALLED, {**given, "tools": None}, form)
    return replace(
        form,
        has_single_calls=not (_is_taken(both) and SECOND in both),
        needs_tools=not _is_taken(alone, shows_tools=False),
    )


def _is_taken(text: str, *, shows_tools: bool = True) -> bool:
    """Return whether all of a call and its result are in the text, and its arguments neither Python's nor escaped."""
    is_complete = all(each in text for each in (ARGUMENT, VALUE, RESULT)) and text.count(NAME) > shows_tools
    return is_complete and f"'{ARGUMENT}'" not in text and f'\\"{ARGUMENT}' not in text


def _rendered(template: str, messages: Sequence[Message], given: Mapping[str, Any], form: ToolForm) -> str:
    """Return the text, "" where the template does not take it."""
    try:
        return renderer().render(template, template_turns(messages, form), given, max_chars=MAX_CHARS)
    except (RefusedError, TooLongError, OverrunError):
        return ""
