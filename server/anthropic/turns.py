"""The turns of a conversation in Anthropic's shape: a text, or blocks of texts, thoughts, calls of tools and results.

The results in a user's turn become turns of their own, and each must answer a call that came before it. Images,
documents and whatever else is no text are refused by name. Knows nothing about the rest of a request.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from coe.errors import InvalidRequestError, shown
from coe.types import Message, ToolCall
from server.openai.fields import FromJson

__all__ = ["Block", "Turn", "messages_of"]


class Block(FromJson):
    """One block of a turn, of the types `text`, `thinking`, `redacted_thinking`, `tool_use` and `tool_result`."""

    type: str
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None
    tool_use_id: str | None = None
    content: str | list[Block] | None = None
    is_error: bool | None = None


class Turn(FromJson):
    """One turn."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Block]

    @property
    def blocks(self) -> list[Block]:
        return [Block(type="text", text=self.content)] if isinstance(self.content, str) else self.content


def messages_of(system: str | list[Block] | None, turns: Sequence[Turn]) -> tuple[Message, ...]:
    """Return the conversation; raises InvalidRequestError for a block that cannot be where it is."""
    messages: list[Message] = []
    if system:
        messages.append(Message("system", system if isinstance(system, str) else _text(system, "system", "\n")))
    names: dict[str, str] = {}  # of the tools called so far, by the call's id
    for at, turn in enumerate(turns):
        where = f"messages[{at}]"
        if turn.role == "assistant":
            message = _assistants(turn, where)
            names |= {call.id: call.name for call in message.tool_calls}
            messages.append(message)
        else:
            messages += _others(turn, where, names)
    return tuple(messages)


def _assistants(turn: Turn, where: str) -> Message:
    spoken = [block for block in turn.blocks if block.type not in ("thinking", "redacted_thinking", "tool_use")]
    thoughts = "".join(block.thinking or "" for block in turn.blocks)
    calls = tuple(_call(block, where) for block in turn.blocks if block.type == "tool_use")
    return Message("assistant", _text(spoken, where), thoughts, calls)


def _call(block: Block, where: str) -> ToolCall:
    if not block.id or not block.name:
        raise InvalidRequestError(f"{where} has a tool_use block without id or name; send both", param="messages")
    return ToolCall(block.id, block.name, json.dumps(block.input or {}, ensure_ascii=False))


def _others(turn: Turn, where: str, names: dict[str, str]) -> Iterator[Message]:
    """Yield the turns that a user's is: its results, and the texts between them."""
    said: list[Block] = []
    for block in turn.blocks:
        if block.type != "tool_result" or turn.role != "user":
            said.append(block)
            continue
        if said:
            yield Message(turn.role, _text(said, where))
            said = []
        yield _result(block, where, names)
    if said or not turn.blocks:
        yield Message(turn.role, _text(said, where))


def _result(block: Block, where: str, names: dict[str, str]) -> Message:
    if block.tool_use_id not in names:
        raise InvalidRequestError(
            f"{where} has a tool_result of the call {shown(block.tool_use_id)}, which no assistant turn before it "
            "makes; send the assistant's turn with its tool_use block first",
            param="messages",
        )
    content = block.content or ""
    text = content if isinstance(content, str) else _text(content, where)
    return Message("tool", text, tool_call_id=block.tool_use_id, name=names[block.tool_use_id])


def _text(blocks: Sequence[Block], where: str, between: str = "") -> str:
    for block in blocks:
        if block.type != "text" or block.text is None:
            raise InvalidRequestError(
                f"{where} has a content block of type {shown(block.type)}, which is not supported here; send text",
                param=where.partition("[")[0],
            )
    return between.join(block.text or "" for block in blocks)
