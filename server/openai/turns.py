"""The turns of a conversation in OpenAI's shape, read and checked: texts, thoughts, calls of tools, their results.

A result must answer a call that came before it. The legacy role "function" and `function_call` become calls and
results, too. Knows nothing about the rest of a request.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from coe.errors import InvalidRequestError, shown
from coe.types import Message, ToolCall
from server.bodies import refuse_unknown
from server.openai.fields import FromJson

__all__ = ["Turn", "messages_of"]

_HARMLESS = frozenset({"refusal", "annotations", "audio"})


def _arguments_text(value: Any) -> Any:
    """Some clients send the arguments as the object that they are."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value


class _ContentPart(BaseModel):
    type: str
    text: str | None = None


class _CalledFunction(FromJson):
    name: str = Field(min_length=1)
    arguments: Annotated[str, BeforeValidator(_arguments_text)] = ""


class _Call(FromJson):
    """A call of a tool by the assistant. Clients send `index` where they joined the pieces of a stream."""

    id: str = ""
    type: str = "function"
    function: _CalledFunction
    index: int | None = None


class Turn(BaseModel):
    """One message of a conversation; its content is a text, a list of parts of type `text`, or null: no text."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[_ContentPart] | None
    name: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None
    function_call: _CalledFunction | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_by_role(cls, raw: Any) -> Any:
        if not isinstance(raw, dict):
            return raw
        refuse_unknown(raw, {*cls.model_fields, *_HARMLESS}, "messages")
        if raw.get("role") == "assistant":
            return {"content": None, **raw}
        for name in ("tool_calls", "function_call"):
            if raw.get(name):
                raise InvalidRequestError(
                    f"{name} is in a turn of role {shown(raw.get('role'))}; only assistant turns call tools",
                    param="messages",
                )
        return raw

    @property
    def text(self) -> str:
        return _joined(self.content) if isinstance(self.content, list) else self.content or ""

    @property
    def thinking(self) -> str:
        return (self.reasoning_content or self.reasoning or "") if self.role == "assistant" else ""


def messages_of(turns: Sequence[Turn]) -> tuple[Message, ...]:
    """Return the conversation; raises InvalidRequestError for a result that answers no call made before it."""
    messages: list[Message] = []
    names: dict[str, str] = {}  # of the tools called so far, by the call's id
    for at, turn in enumerate(turns):
        if turn.role == "tool":
            messages.append(_result(turn, at, names))
        elif turn.role == "function":
            messages.append(_legacy_result(turn, at, names))
        else:
            calls = _calls(turn, at)
            names |= {call.id: call.name for call in calls}
            role = "system" if turn.role == "developer" else turn.role
            messages.append(Message(role, turn.text, turn.thinking, calls))
    return tuple(messages)


def _calls(turn: Turn, at: int) -> tuple[ToolCall, ...]:
    calls = []
    for number, call in enumerate(turn.tool_calls or ()):
        if call.type != "function":
            raise InvalidRequestError(
                f"messages[{at}] has a call of type {shown(call.type)}; only calls of type 'function' are supported",
                param="messages",
            )
        if not call.id:
            raise InvalidRequestError(f"messages[{at}].tool_calls[{number}] has no id; send it", param="messages")
        calls.append(ToolCall(call.id, call.function.name, call.function.arguments))
    if turn.function_call is not None:
        calls.append(ToolCall(f"call_{at}", turn.function_call.name, turn.function_call.arguments))
    return tuple(calls)


def _result(turn: Turn, at: int, names: dict[str, str]) -> Message:
    if not turn.tool_call_id:
        raise InvalidRequestError(
            f"messages[{at}] has role 'tool' and no tool_call_id; send the id of the call that it answers",
            param="messages",
        )
    if turn.tool_call_id not in names:
        raise InvalidRequestError(
            f"messages[{at}] answers the call {shown(turn.tool_call_id)}, which no assistant turn before it makes; "
            "send the assistant's turn with its tool_calls first",
            param="messages",
        )
    return Message("tool", turn.text, tool_call_id=turn.tool_call_id, name=names[turn.tool_call_id])


def _legacy_result(turn: Turn, at: int, names: dict[str, str]) -> Message:
    """Return the result of the last call of the function that it names."""
    called = [call_id for call_id, name in names.items() if name == turn.name]
    if not called:
        raise InvalidRequestError(
            f"messages[{at}] has role 'function' and the name {shown(turn.name)}, which no assistant turn before it "
            "calls; send the assistant's turn with its function_call first",
            param="messages",
        )
    return Message("tool", turn.text, tool_call_id=called[-1], name=names[called[-1]])


def _joined(parts: list[_ContentPart]) -> str:
    for part in parts:
        if part.type != "text" or part.text is None:
            raise InvalidRequestError(
                f"content part of type {shown(part.type)} is not supported; send parts of type 'text'", param="messages"
            )
    return "".join(part.text or "" for part in parts)
