"""A response says the same whole and streamed, and its stream's events come numbered and in OpenAI's order."""

from __future__ import annotations

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
    TokenLogprob,
    Usage,
)
from server.failures import failure_of
from server.responses.answers import ResponseAnswer
from server.responses.requests import ResponseRequest

SWITCH = Switch(SwitchKind.HOST_HIT, 9, 0.001, 0.002, 0.003)
ROUTED = Routed(Decision("sql", "sql", 0.9, "category", "The"), Tier.HOST, 7)
END = Finished(FinishReason.TOOL_CALLS, Usage(7, 5, 3, 2), SWITCH)
EVENTS: tuple[GenerateEvent, ...] = (
    Delta("", (1,), thinking="let me"),
    Delta("so", (3,), logprobs=(TokenLogprob(3, "so", b"so", -1.0),)),
    Delta("", (), calls=(CallDelta(0, "call_1", "f"),)),
    Delta("", (), calls=(CallDelta(0, arguments='{"x": 1}'),)),
    END,
)


class Asked:
    """An answer, and what was kept of it."""

    def __init__(self, **fields: Any) -> None:
        self.kept: list[dict[str, Any]] = []
        asked = ResponseRequest.model_validate({"input": "The", **fields})
        self.answer = ResponseAnswer("1", asked, ROUTED, self.kept.append)

    def whole(self, events: tuple[GenerateEvent, ...] = EVENTS) -> dict[str, Any]:
        for event in events:
            self.answer.take(event)
        return self.answer.whole()

    def streamed(self, events: tuple[GenerateEvent, ...] = EVENTS) -> list[dict[str, Any]]:
        made = list(self.answer.opening(ROUTED))
        for event in events:
            made += self.answer.chunks(event)
        return [*made, *self.answer.closing()]


def test_a_whole_response_gives_back_what_was_asked() -> None:
    asked = Asked(metadata={"a": "b"}, instructions="be kind", max_output_tokens=9)
    body = asked.whole()
    assert (body["id"], body["status"], body["model"]) == ("resp_1", "completed", "sql")
    assert [item["type"] for item in body["output"]] == ["reasoning", "message", "function_call"]
    assert body["output"][1]["content"][0]["text"] == "so"
    assert body["output"][1]["content"][0]["logprobs"][0]["logprob"] == -1.0
    assert body["output"][2] | {"call_id": "call_1", "arguments": '{"x": 1}'} == body["output"][2]
    assert (body["metadata"], body["instructions"], body["max_output_tokens"]) == ({"a": "b"}, "be kind", 9)
    assert body["usage"]["input_tokens_details"]["cached_tokens"] == 3
    assert asked.kept == [body]


def test_the_stream_says_the_same_in_openais_order() -> None:
    asked = Asked()
    events = asked.streamed()
    assert [each["type"].removeprefix("response.") for each in events] == [
        *("created", "in_progress"),
        *("output_item.added", "content_part.added", "reasoning_text.delta"),
        *("reasoning_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done"),
        "completed",
    ]
    assert [each["sequence_number"] for each in events] == list(range(len(events)))
    done = [each["item"] for each in events if each["type"] == "response.output_item.done"]
    assert events[-1]["response"]["output"] == done == Asked().whole()["output"]
    assert asked.kept == [events[-1]["response"]]


def test_an_answer_that_was_cut_is_incomplete() -> None:
    events = Asked().streamed((Delta("a", (1,)), Finished(FinishReason.LENGTH, Usage(7, 1), SWITCH)))
    body = events[-1]["response"]
    assert events[-1]["type"] == "response.incomplete"
    assert body["incomplete_details"] == {"reason": "max_output_tokens"}
    assert body["output"][0]["status"] == "incomplete"


def test_a_failure_is_an_error_and_a_failed_response() -> None:
    asked = Asked()
    error, failed = asked.answer.failing(failure_of(OverloadedError("too much")))
    assert (error["type"], error["code"], error["message"]) == ("error", "overloaded", "too much")
    assert failed["response"]["error"] == {"code": "rate_limit_exceeded", "message": "too much"}
    assert failed["response"]["status"] == "failed"
    assert not asked.kept
