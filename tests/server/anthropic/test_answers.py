"""A message says the same whole and streamed, and its stream's events come in Anthropic's order."""

from __future__ import annotations

import json
from typing import Any

from coe.errors import OverloadedError
from coe.types import (
    CallDelta,
    Decision,
    Delta,
    Finished,
    FinishReason,
    GenerateEvent,
    Routed,
    Switch,
    SwitchKind,
    Tier,
    Usage,
)
from server.anthropic.answers import MessageAnswer
from server.anthropic.requests import MessageRequest
from server.failures import failure_of

SWITCH = Switch(SwitchKind.HOST_HIT, 9, 0.001, 0.002, 0.003)
ROUTED = Routed(Decision("sql", "sql", 0.9, "category", "The"), Tier.HOST, 7)
EVENTS: tuple[GenerateEvent, ...] = (
    Delta("", (1,), thinking="let"),
    Delta("", (2,), thinking=" me"),
    Delta("so", (3,)),
    Delta("", (), calls=(CallDelta(0, "call_1", "f"),)),
    Delta("", (), calls=(CallDelta(0, arguments='{"x": 1}'),)),
    Finished(FinishReason.TOOL_CALLS, Usage(7, 5, 3, 2), SWITCH),
)


def answer(**fields: Any) -> MessageAnswer:
    body = {"max_tokens": 9, "messages": [{"role": "user", "content": "The"}], **fields}
    return MessageAnswer("1", MessageRequest.model_validate(body), ROUTED)


def streamed(answer: MessageAnswer, events: tuple[GenerateEvent, ...] = EVENTS) -> list[dict[str, Any]]:
    made = list(answer.opening(ROUTED))
    for event in events:
        made += answer.chunks(event)
    return [*made, *answer.closing()]


def whole(answer: MessageAnswer, events: tuple[GenerateEvent, ...] = EVENTS) -> dict[str, Any]:
    for event in events:
        answer.take(event)
    return answer.whole()


def test_a_whole_message() -> None:
    message = whole(answer())
    assert message["id"] == "msg_1"
    assert message["model"] == message["coe"]["expert"] == "sql"
    assert message["content"] == [
        {"type": "thinking", "thinking": "let me", "signature": ""},
        {"type": "text", "text": "so", "citations": None},
        {"type": "tool_use", "id": "call_1", "name": "f", "input": {"x": 1}},
    ]
    assert (message["stop_reason"], message["stop_sequence"]) == ("tool_use", None)
    assert message["usage"] == {
        "input_tokens": 4,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 3,
        "output_tokens": 5,
        "output_tokens_details": {"thinking_tokens": 2},
    }


def test_the_stream_says_the_same_in_anthropics_order() -> None:
    events = streamed(answer())
    assert [each["type"].replace("content_block_", "") for each in events] == [
        *("message_start", "ping"),
        *("start", "delta", "delta", "delta", "stop"),
        *("start", "delta", "stop"),
        *("start", "delta", "stop"),
        *("message_delta", "message_stop"),
    ]
    assert events[0]["message"]["usage"]["input_tokens"] == 7
    kinds = [each["delta"]["type"] for each in events if each["type"] == "content_block_delta"]
    assert kinds == ["thinking_delta", "thinking_delta", "signature_delta", "text_delta", "input_json_delta"]
    assert [each["index"] for each in events if each["type"] == "content_block_start"] == [0, 1, 2]
    (arguments,) = (each["delta"]["partial_json"] for each in events if "partial_json" in each.get("delta", ()))
    assert json.loads(arguments) == {"x": 1}
    assert events[-2]["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}
    assert events[-2]["usage"] == whole(answer())["usage"]


def test_thoughts_that_are_not_wanted_leave_no_place() -> None:
    asked = {"thinking": {"type": "enabled", "budget_tokens": 1024, "display": "omitted"}}
    assert [block["type"] for block in whole(answer(**asked))["content"]] == ["text", "tool_use"]
    events = streamed(answer(**asked))
    assert [each["index"] for each in events if each["type"] == "content_block_start"] == [0, 1]
    assert "let" not in json.dumps(events)


def test_reasons() -> None:
    for reason, stop_string, said in (
        (FinishReason.STOP, None, ("end_turn", None)),
        (FinishReason.STOP, "END", ("stop_sequence", "END")),
        (FinishReason.LENGTH, None, ("max_tokens", None)),
    ):
        end = Finished(reason, Usage(7, 1), SWITCH, 0, stop_string)
        message = whole(answer(), (Delta("a", (1,)), end))
        assert (message["stop_reason"], message["stop_sequence"]) == said


def test_a_failure_is_an_error_event() -> None:
    (event,) = answer().failing(failure_of(OverloadedError("too much")))
    assert event["type"] == "error"
    assert event["error"] == {"type": "rate_limit_error", "message": "too much"}
