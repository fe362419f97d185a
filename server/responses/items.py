"""The items of OpenAI's responses: messages, thoughts, calls of functions and their outputs, read into turns.

What an assistant says in neighbouring items is one turn. Items and parts of other types are refused by name. Knows
nothing about the rest of a request.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from coe.errors import InvalidRequestError, shown
from coe.types import Message, ToolCall
from server.openai.fields import FromJson

__all__ = ["Item", "messages_of", "named_items"]

_TEXTS = ("input_text", "output_text", "text", "reasoning_text", "summary_text")
_PREFIXES = {"message": "msg", "reasoning": "rs", "function_call": "fc", "function_call_output": "fco"}


class ItemPart(FromJson):
    """A part of a message, a thought or an output: a text, or what the model refused to say."""

    type: str
    text: str | None = None
    refusal: str | None = None


class Item(FromJson):
    """One item; a message may leave its type out."""

    type: str = "message"
    role: Literal["user", "assistant", "system", "developer"] | None = None
    content: str | list[ItemPart] | None = None
    summary: list[ItemPart] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | list[ItemPart] | None = None


class _Turns:
    """The turns so far. The assistant's last one is open until somebody else speaks."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._names: dict[str, str] = {}  # of the functions called so far, by the call's id
        self._open: Message | None = None

    def add(self, item: Item, where: str) -> None:
        match item.type:
            case "message" if item.role == "assistant":
                if self._assistants.content or self._assistants.tool_calls:
                    self.close()
                self._open = replace(self._assistants, content=_text(item.content, where))
            case "message":
                self._say(_message(item, where))
            case "reasoning":
                thought = _text(item.content, where) or _text(item.summary, where)
                if self._assistants.content or self._assistants.tool_calls:
                    self.close()
                self._open = replace(self._assistants, thinking=self._assistants.thinking + thought)
            case "function_call":
                call = _call(item, where)
                self._names[call.id] = call.name
                self._open = replace(self._assistants, tool_calls=(*self._assistants.tool_calls, call))
            case "function_call_output":
                self._say(self._output(item, where))
            case _:
                raise InvalidRequestError(
                    f"{where} is of type {shown(item.type)}, which is not supported; send {', '.join(_PREFIXES)}",
                    param="input",
                )

    def close(self) -> None:
        if self._open is not None:
            self.messages.append(self._open)
        self._open = None

    @property
    def _assistants(self) -> Message:
        return self._open or Message("assistant", "")

    def _say(self, message: Message) -> None:
        self.close()
        self.messages.append(message)

    def _output(self, item: Item, where: str) -> Message:
        if item.call_id not in self._names:
            raise InvalidRequestError(
                f"{where} is the output of the call {shown(item.call_id)}, which no item before it makes; send the "
                "function_call first, or previous_response_id",
                param="input",
            )
        return Message("tool", _text(item.output, where), tool_call_id=item.call_id, name=self._names[item.call_id])


def messages_of(instructions: str | None, items: Sequence[Item]) -> tuple[Message, ...]:
    """Return the conversation; raises InvalidRequestError for an item that cannot be where it is."""
    turns = _Turns()
    for at, item in enumerate(items):
        turns.add(item, f"input[{at}]")
    turns.close()
    first = (Message("system", instructions),) if instructions else ()
    return (*first, *turns.messages)


def named_items(given: str | Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the items of a request as they are kept and listed: each with a type and an id, contents as parts."""
    items: Sequence[Mapping[str, Any]] = [{"role": "user", "content": given}] if isinstance(given, str) else given
    return [_named(item) for item in items]


def _named(item: Mapping[str, Any]) -> dict[str, Any]:
    kind = item.get("type") or "message"
    named = {**item, "type": kind, "id": item.get("id") or f"{_PREFIXES.get(kind, 'item')}_{uuid.uuid4().hex}"}
    if kind == "message" and isinstance(content := item.get("content"), str):
        part = "output_text" if item.get("role") == "assistant" else "input_text"
        named["content"] = [{"type": part, "text": content}]
    return named


def _message(item: Item, where: str) -> Message:
    if item.role is None:
        raise InvalidRequestError(f"{where} is a message without role; send user, assistant or system", param="input")
    return Message("system" if item.role == "developer" else item.role, _text(item.content, where))


def _call(item: Item, where: str) -> ToolCall:
    if not item.call_id or not item.name:
        raise InvalidRequestError(f"{where} is a function_call without call_id or name; send both", param="input")
    return ToolCall(item.call_id, item.name, item.arguments or "{}")


def _text(content: str | list[ItemPart] | None, where: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    for part in content:
        if part.type != "refusal" and (part.type not in _TEXTS or part.text is None):
            raise InvalidRequestError(
                f"{where} has a part of type {shown(part.type)}, which is not supported; send text", param="input"
            )
    return "".join(part.text or part.refusal or "" for part in content)
