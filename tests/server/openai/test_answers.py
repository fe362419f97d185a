"""Whole answers and their chunks say the same, and usage counts each token once."""

from __future__ import annotations

from typing import Any

import pytest

from coe.types import (
    CallDelta,
    Decision,
    Delta,
    Finished,
    FinishReason,
    GenerateEvent,
    PromptScored,
    Routed,
    Switch,
    SwitchKind,
    Tier,
    TokenLogprob,
    Usage,
)
from server.openai.answers import ChatAnswer, CompletionAnswer
from server.openai.objects import usage_object
from server.openai.requests import ChatRequest, CompletionRequest

SWITCH = Switch(SwitchKind.HOST_HIT, 9, 0.001, 0.002, 0.003)
ROUTED = Routed(Decision("sql", "sql", 0.9, "category", "The"), Tier.HOST, 1)


def token(text: str, logprob: float | None = -1.0) -> TokenLogprob:
    return TokenLogprob(1, text, text.encode(), logprob)


def ended(index: int, num_tokens: int, num_cached: int = 0) -> Finished:
    return Finished(FinishReason.LENGTH, Usage(5, num_tokens, num_cached), SWITCH, index)


def chat(**fields: Any) -> ChatAnswer:
    body = {"messages": [{"role": "user", "content": "The"}], **fields}
    return ChatAnswer("1", ChatRequest.model_validate(body), ROUTED)


def completion(**fields: Any) -> CompletionAnswer:
    return CompletionAnswer("1", CompletionRequest.model_validate({"prompt": "The", **fields}), ROUTED)


def chunks(answer: ChatAnswer | CompletionAnswer, events: list[GenerateEvent]) -> list[dict[str, Any]]:
    made = list(answer.opening(ROUTED))
    for event in events:
        made += answer.chunks(event)
    return made


def test_chunks_of_each_choice_are_its_text() -> None:
    events: list[GenerateEvent] = [
        Delta("a", (1,), 0),
        Delta("x", (2,), 1),
        Delta("", (3,), 1),
        Delta("b", (3,), 0),
        ended(0, 2),
        ended(1, 2),
    ]
    answer = chat(n=2)
    streamed = [chunk["choices"][0] for chunk in chunks(answer, events)]
    whole = answer.whole()
    for choice in whole["choices"]:
        own = [each for each in streamed if each["index"] == choice["index"]]
        assert own[0]["delta"]["role"] == "assistant"
        assert "".join(each["delta"].get("content", "") for each in own) == choice["message"]["content"]
        assert [each["finish_reason"] for each in own[-2:]] == [None, "length"]
    assert whole["coe"]["switch"]["load_ms"] == 1.0


def test_the_decision_is_in_the_first_chunk_and_the_switch_in_the_last() -> None:
    made = chunks(chat(), [Delta("a", (1,)), ended(0, 1)])
    assert [chunk.get("coe", {}).get("expert") for chunk in made] == ["sql", None, "sql"]
    assert ["switch" in chunk.get("coe", {}) for chunk in made] == [False, False, True]


def test_logprobs_are_objects_in_chats_and_lists_in_completions() -> None:
    events: list[GenerateEvent] = [Delta("ab", (1, 2), logprobs=(token("a"), token("b"))), ended(0, 2)]
    talk, text = chat(logprobs=True), completion(logprobs=1)
    for answer in (talk, text):
        chunks(answer, events)
    content = talk.whole()["choices"][0]["logprobs"]["content"]
    assert [each["token"] for each in content] == ["a", "b"]
    lists = text.whole()["choices"][0]["logprobs"]
    assert (lists["tokens"], lists["text_offset"]) == (["a", "b"], [0, 1])


@pytest.mark.parametrize("with_logprobs", [True, False])
def test_an_echo_is_streamed_as_it_is_whole(with_logprobs: bool) -> None:
    answer = completion(echo=True, **({"logprobs": 0} if with_logprobs else {}))
    scored = [PromptScored((token("The", None),))] if with_logprobs else []
    made = chunks(
        answer, [*scored, Delta(" end", (1,), logprobs=(token(" end"),) if with_logprobs else ()), ended(0, 1)]
    )
    choice = answer.whole()["choices"][0]
    assert choice["text"] == "The end" == "".join(chunk["choices"][0]["text"] for chunk in made)
    assert (choice["logprobs"] is not None) is with_logprobs


def test_usage_counts_the_prompt_once_and_only_what_no_choice_computed_is_cached() -> None:
    assert usage_object([ended(0, 2, 1), ended(1, 3, 4)], 2) == {
        "prompt_tokens": 5,
        "completion_tokens": 5,
        "total_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def test_calls_and_thoughts_have_fields_of_their_own_in_answers_and_chunks() -> None:
    events: list[GenerateEvent] = [
        Delta("", (1,), thinking="Hm"),
        Delta("I look.", (2,), thinking="."),
        Delta("", (3,), calls=(CallDelta(0, "call_1", "f"),)),
        Delta("", (), calls=(CallDelta(0, arguments='{"a": '),)),
        Delta("", (), calls=(CallDelta(0, arguments="1}"),)),
        Delta("", (), calls=(CallDelta(1, "call_2", "g"),)),
        Delta("", (), calls=(CallDelta(1, arguments="{}"),)),
        Finished(FinishReason.TOOL_CALLS, Usage(5, 3, reasoning_tokens=2), SWITCH),
    ]
    answer = chat(stream=True)
    made = [each["choices"][0] for each in chunks(answer, events)]
    assert [each["delta"] for each in made] == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "Hm"},
        {"reasoning_content": ".", "content": "I look."},
        {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a": '}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
        {"tool_calls": [{"index": 1, "id": "call_2", "type": "function", "function": {"name": "g", "arguments": ""}}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        {},
    ]
    assert made[-1]["finish_reason"] == "tool_calls"
    whole = answer.whole()
    message = whole["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("I look.", "Hm.")
    assert [call["function"]["arguments"] for call in message["tool_calls"]] == ['{"a": 1}', "{}"]
    assert whole["usage"]["completion_tokens_details"] == {"reasoning_tokens": 2}


def test_content_is_null_where_an_answer_only_calls() -> None:
    answer = chat()
    answer.take(Delta("", (), calls=(CallDelta(0, "call_1", "f"),)))
    answer.take(Finished(FinishReason.TOOL_CALLS, Usage(5, 3), SWITCH))
    message = answer.whole()["choices"][0]["message"]
    assert message["content"] is None
    assert "reasoning_content" not in message
