"""Turns and tools as a chat template gets them: calls, results and thoughts in the form that it knows, or as text.

Templates differ in whether a call's arguments are an object or JSON text, whether a turn that only calls has empty
content or none, and how long ids may be. A template that knows no tools gets them as text, in the form of the Hermes
models: a system text with the tools' JSON, calls in <tool_call>, results in <tool_response> of a user turn. Pure.
tool_probe.py finds out which form a template takes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from coe.types import Message, Tool, ToolCall

__all__ = ["PLAIN", "WRITTEN", "ToolForm", "as_text", "num_chars", "template_tools", "template_turns"]

WRITTEN = "tools, calls and results written as text: the template does not take them"
_ID_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SHORT = 9  # letters and digits of an id, as Mistral's templates want it


@dataclass(frozen=True, slots=True)
class ToolForm:
    """How a template takes tools. With `is_native` False it knows none, and the rest means nothing.

    With `has_single_calls` it takes one call in a turn, with `needs_tools` calls only where tools are on offer, and
    with `has_written_calls` it shows tools and results, and calls only as what a turn says.
    """

    is_native: bool = True
    has_argument_objects: bool = True
    has_null_content: bool = False
    has_short_ids: bool = False
    has_single_calls: bool = False
    needs_tools: bool = False
    has_written_calls: bool = False

    def takes(self, *, tools: bool, calls: bool) -> bool:
        """Return whether the template takes a conversation with tools on offer, or with calls in it."""
        return not (tools or calls) or (self.is_native and (tools or not self.needs_tools))


PLAIN = ToolForm(is_native=False)


def template_tools(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """Return tools as every template that knows them wants them: OpenAI's JSON."""
    return [{"type": "function", "function": _function(tool)} for tool in tools]


def template_turns(messages: Sequence[Message], form: ToolForm) -> list[dict[str, Any]]:
    """Return the turns as a template gets them; thoughts are in `reasoning_content`, for it to keep or drop."""
    return [_turn(message, form) for message in messages]


def as_text(messages: Sequence[Message], tools: Sequence[Tool]) -> tuple[Message, ...]:
    """Return turns that say with text alone what tools there are, what was called and what came of it."""
    turns: list[Message] = []
    for at, message in enumerate(messages):
        if message.role == "tool":
            text = f"<tool_response>\n{message.content}\n</tool_response>"
            if at and messages[at - 1].role == "tool":
                turns[-1] = replace(turns[-1], content=f"{turns[-1].content}\n{text}")
            else:
                turns.append(Message("user", text))
        else:
            calls = (f"<tool_call>\n{_call_text(call)}\n</tool_call>" for call in message.tool_calls)
            content = "\n".join(filter(None, (message.content, *calls)))
            turns.append(replace(message, content=content, tool_calls=()))
    if not tools:
        return tuple(turns)
    has_system = bool(turns) and turns[0].role == "system"
    told = "\n\n".join(filter(None, (turns[0].content if has_system else "", _told(tools))))
    return (Message("system", told), *turns[has_system:])


def num_chars(messages: Sequence[Message], tools: Sequence[Tool] = ()) -> int:
    """Return the characters of a conversation and its tools, without thoughts, which a template may drop."""
    said = sum(len(turn.content) + sum(len(call.arguments) for call in turn.tool_calls) for turn in messages)
    return said + sum(len(json.dumps(_function(tool), ensure_ascii=False)) for tool in tools)


def _told(tools: Sequence[Tool]) -> str:
    listed = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in template_tools(tools))
    return (
        "# Tools\n\nYou may call one or more functions to help with the user's request. Their signatures are JSON "
        f"within <tools></tools>:\n<tools>\n{listed}\n</tools>\n\nTo call a function, write a JSON object with its "
        "name and arguments within <tool_call></tool_call>:\n"
        '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
    )


def _function(tool: Tool) -> dict[str, Any]:
    parameters = dict(tool.parameters) or {"type": "object", "properties": {}}
    return {"name": tool.name, "description": tool.description, "parameters": parameters}


def _turn(message: Message, form: ToolForm) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.thinking:
        turn["reasoning_content"] = message.thinking
    if message.tool_calls:
        turn["tool_calls"] = [_call(call, form) for call in message.tool_calls]
        if form.has_null_content and not message.content:
            turn["content"] = None
    if message.role == "tool":
        turn |= {"tool_call_id": _id(message.tool_call_id, form), "name": message.name}
    return turn


def _call(call: ToolCall, form: ToolForm) -> dict[str, Any]:
    arguments = _object(call.arguments) if form.has_argument_objects else call.arguments or "{}"
    function = {"name": call.name, "arguments": arguments}
    return {"id": _id(call.id, form), "type": "function", "function": function}


def _call_text(call: ToolCall) -> str:
    called = {"name": call.name, "arguments": _object(call.arguments)}
    return json.dumps(called, ensure_ascii=False)


def _object(arguments: str) -> Any:
    """Return the arguments as the object that they are; text that is no JSON stays text."""
    try:
        return json.loads(arguments or "{}", strict=False)
    except (ValueError, RecursionError):
        return arguments


def _id(call_id: str, form: ToolForm) -> str:
    """Return the id in a form that the template takes, the same for a call and its result."""
    if not form.has_short_ids or (len(call_id) == _SHORT and call_id.isascii() and call_id.isalnum()):
        return call_id
    digest = hashlib.blake2b(call_id.encode("utf-8", "replace"), digest_size=_SHORT).digest()
    return "".join(_ID_LETTERS[byte % len(_ID_LETTERS)] for byte in digest)
