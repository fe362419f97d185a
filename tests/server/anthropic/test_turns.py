"""Anthropic's blocks become turns, in their order; what is no text is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from coe.errors import InvalidRequestError
from coe.types import Message, ToolCall
from server.anthropic.turns import Block, Turn, messages_of

CALL = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"city": "Paris"}}


def read(*turns: dict[str, Any], system: Any = None) -> tuple[Message, ...]:
    blocks = [Block.model_validate(each) for each in system] if isinstance(system, list) else system
    return messages_of(blocks, [Turn.model_validate(turn) for turn in turns])


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


def test_a_conversation_with_a_call_and_its_result() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": ""}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "18"}]}
    assert read(
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": [thought, {"type": "text", "text": "wait"}, CALL]},
        user(result, {"type": "text", "text": "and "}, {"type": "text", "text": "now?"}),
        system=[
            {"type": "text", "text": "be", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "kind"},
        ],
    ) == (
        Message("system", "be\nkind"),
        Message("user", "hello"),
        Message("assistant", "wait", "hm", (ToolCall("toolu_1", "f", '{"city": "Paris"}'),)),
        Message("tool", "18", tool_call_id="toolu_1", name="f"),
        Message("user", "and now?"),
    )


def test_thoughts_that_cannot_be_read_are_dropped() -> None:
    redacted = {"type": "redacted_thinking", "data": "x"}
    (message,) = read({"role": "assistant", "content": [redacted, {"type": "text", "text": "yes"}]})
    assert message == Message("assistant", "yes")


@pytest.mark.parametrize("kind", ["image", "document", "search_result", "tool_use"])
def test_what_is_no_text_is_refused_by_name(kind: str) -> None:
    with pytest.raises(InvalidRequestError, match=rf"messages\[0\] has a content block of type '{kind}'") as caught:
        read(user({"type": kind, "source": {}}))
    assert caught.value.param == "messages"


def test_a_result_must_answer_a_call() -> None:
    with pytest.raises(InvalidRequestError, match="tool_result of the call 'toolu_9'"):
        read({"role": "assistant", "content": [CALL]}, user({"type": "tool_result", "tool_use_id": "toolu_9"}))


def test_a_call_has_a_name() -> None:
    with pytest.raises(InvalidRequestError, match="without id or name"):
        read({"role": "assistant", "content": [{"type": "tool_use", "id": "a"}]})
