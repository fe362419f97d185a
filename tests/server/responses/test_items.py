"""Items become turns, in their order; what is no text is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from coe.errors import InvalidRequestError
from coe.types import Message, ToolCall
from server.responses.items import Item, messages_of, named_items

CALL = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"x": 1}'}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "18"}


def read(*items: dict[str, Any], instructions: str | None = None) -> tuple[Message, ...]:
    return messages_of(instructions, [Item.model_validate(each) for each in items])


def said(text: str, role: str = "assistant") -> dict[str, Any]:
    return {"type": "message", "role": role, "content": [{"type": "output_text", "text": text}]}


def test_a_conversation_with_a_call_and_its_output() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}
    assert read(
        {"role": "user", "content": "hello"},
        thought,
        said("wait"),
        CALL,
        OUTPUT,
        {"role": "developer", "content": [{"type": "input_text", "text": "be brief"}]},
        instructions="be kind",
    ) == (
        Message("system", "be kind"),
        Message("user", "hello"),
        Message("assistant", "wait", "hm", (ToolCall("call_1", "f", '{"x": 1}'),)),
        Message("tool", "18", tool_call_id="call_1", name="f"),
        Message("system", "be brief"),
    )


def test_what_an_assistant_says_after_a_call_is_another_turn() -> None:
    assert [message.content for message in read(said("a"), said("b"))] == ["a", "b"]
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}
    assert [message.thinking for message in read(said("a"), thought, said("b"))] == ["", "hm"]


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"type": "web_search_call"}, r"input\[0\] is of type 'web_search_call'"),
        ({"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}, "a part of type 'input_image'"),
        ({"content": "x"}, "without role"),
        ({**CALL, "name": None}, "without call_id or name"),
        (OUTPUT, "output of the call 'call_1'"),
    ],
)
def test_what_cannot_be_is_refused_by_name(item: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words) as caught:
        read(item)
    assert caught.value.param == "input"


def test_items_are_listed_with_ids_and_parts() -> None:
    (text,) = named_items("hi")
    assert text["content"] == [{"type": "input_text", "text": "hi"}]
    kept, named = named_items([{**CALL, "id": "fc_1"}, OUTPUT])
    assert kept == {**CALL, "id": "fc_1"}
    assert named["id"].startswith("fco_")
