"""Turns in OpenAI's shape become messages: calls, results and thoughts in their places, wrong ones refused."""

from __future__ import annotations

import re
from typing import Any

import pytest

from coe.errors import InvalidRequestError
from coe.types import Message, ToolCall
from server.bodies import validated
from server.openai.requests import ChatRequest

USER = {"role": "user", "content": "What is the weather in Paris?"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
CALLED = ToolCall("call_1", "weather", '{"city": "Paris"}')


def read(*turns: Any) -> tuple[Message, ...]:
    return validated(ChatRequest, {"messages": list(turns)}).generate_request("id").messages


@pytest.mark.parametrize("content", [{"content": None}, {}, {"content": ""}])
def test_a_call_may_stand_without_content_and_its_result_names_it(content: dict[str, Any]) -> None:
    parts = [{"type": "text", "text": "18 °C"}]
    messages = read(
        USER,
        {"role": "assistant", "tool_calls": [CALL], **content},
        {"role": "tool", "tool_call_id": "call_1", "content": parts},
    )
    assert messages[1:] == (
        Message("assistant", "", tool_calls=(CALLED,)),
        Message("tool", "18 °C", tool_call_id="call_1", name="weather"),
    )


def test_arguments_may_be_the_object_itself_and_a_streams_index_is_no_error() -> None:
    call = {**CALL, "index": 0, "function": {"name": "weather", "arguments": {"city": "Paris"}}}
    assert read(USER, {"role": "assistant", "tool_calls": [call]})[1].tool_calls == (CALLED,)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thoughts_are_kept_apart(field: str) -> None:
    assert read(USER, {"role": "assistant", "content": "Warm.", field: "Hm."})[1] == Message(
        "assistant", "Warm.", "Hm."
    )


def test_legacy_functions_are_calls_and_results() -> None:
    messages = read(
        USER,
        {"role": "assistant", "content": None, "function_call": CALL["function"]},
        {"role": "function", "name": "weather", "content": "18 °C"},
    )
    assert messages[1].tool_calls == (ToolCall("call_1", "weather", '{"city": "Paris"}'),)
    assert messages[2] == Message("tool", "18 °C", tool_call_id="call_1", name="weather")


CALLS = {"role": "assistant", "content": None, "tool_calls": [CALL]}


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        (
            [{"role": "tool", "content": "x", "tool_call_id": "call_1"}],
            "messages[1] answers the call 'call_1', which no",
        ),
        ([CALLS, {"role": "tool", "content": "x", "tool_call_id": "b"}], "messages[2] answers the call 'b'"),
        ([CALLS, {"role": "tool", "content": "x"}], "messages[2] has role 'tool' and no tool_call_id; send the id"),
        ([{"role": "function", "content": "x", "name": "weather"}], "messages[1] has role 'function' and the name"),
        ([{**CALLS, "tool_calls": [{**CALL, "id": ""}]}], "messages[1].tool_calls[0] has no id"),
        (
            [{**CALLS, "tool_calls": [{**CALL, "type": "custom"}]}],
            "call of type 'custom'; only calls of type 'function'",
        ),
        ([{**USER, "tool_calls": [CALL]}], "tool_calls is in a turn of role 'user'"),
    ],
)
def test_what_answers_nothing_or_is_no_call_is_refused(turns: list[Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=re.escape(message)) as caught:
        read(USER, *turns)
    assert caught.value.param == "messages"
