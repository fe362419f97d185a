"""The server's JSON becomes the values that the server made it of."""

from __future__ import annotations

import base64
import struct
from dataclasses import asdict, replace
from typing import Any

from coe.client.answers import (
    Choice,
    Embeddings,
    completion_from,
    decision_from,
    embeddings_from,
    expert_status_from,
    store_status_from,
    whole_answer_from,
)
from coe.statuses import ExpertStatus, StoreStatus
from coe.types import (
    CostTerm,
    Decision,
    Delta,
    Finished,
    FinishReason,
    Neighbour,
    PassedOver,
    Routed,
    ShadowChoice,
    Switch,
    SwitchKind,
    Tier,
    ToolCall,
    Usage,
)
from server.decisions import decision_object, route_object
from server.openai.answers import ChatAnswer
from server.openai.requests import ChatRequest

DECISION = Decision(
    expert="sql",
    category="sql",
    confidence=0.9,
    why="cost",
    text="",
    probabilities={"sql": 0.9, "code": 0.1},
    because="category sql at 0.90",
    instead_of="code",
    cost=CostTerm(0.02, "code", 0.5, 1.5, "sql", 0.49, 0.25),
    nearest=(Neighbour("id", "source", "sql", "MIT", 0.5),),
    alternatives=("general",),
    passed_over=(PassedOver("maths", "queue"),),
)


def test_a_decision_comes_back_as_it_was() -> None:
    assert decision_from(decision_object(DECISION)) == DECISION
    for shadow in (ShadowChoice("0002", "code", "code", 0.5, "category"), ShadowChoice("0002", error="KeyError: in f")):
        beside = replace(DECISION, shadow=shadow)
        assert decision_from(route_object(beside)) == beside
        assert decision_from(decision_object(beside)) == DECISION


def test_fields_of_a_newer_server_are_left_out() -> None:
    body = decision_object(DECISION)
    newer = {**body, "mood": "good", "cost": {**body["cost"], "risk": 1}}
    assert decision_from(newer) == DECISION
    assert store_status_from({"folder": "/x", "disk_bytes": 3, "files": 9}) == StoreStatus("/x", 3)


def test_a_whole_answer_comes_back_as_it_was() -> None:
    asked = ChatRequest.model_validate({"messages": [{"role": "user", "content": "x"}], "coe": {"explain": True}})
    answer = ChatAnswer("id", asked, Routed(DECISION, Tier.HOST, 5))
    switch, usage = Switch(SwitchKind.HOST_HIT, 9, 0.001, 0.002, 0.003), Usage(5, 2, 1)
    answer.take(Delta("hi", (1, 2)))
    answer.take(Finished(FinishReason.STOP, usage, switch))
    found = whole_answer_from(answer.whole())
    assert (found.text, found.finish_reason, found.tier) == ("hi", "stop", Tier.HOST)
    assert (found.usage, found.switch, found.decision) == (usage, switch, DECISION)
    assert (found.expert, found.category, found.confidence, found.why) == ("sql", "sql", 0.9, "cost")


def test_the_status_of_an_expert_comes_back_as_it_was() -> None:
    """Every field has a value of its type, whatever fields there are."""
    defaults: dict[str, Any] = {"bool": False, "int": 0, "float": 0.0, "str": ""}
    kinds = {name: str(field.type) for name, field in ExpertStatus.__dataclass_fields__.items()}
    plain = {name: defaults[kind] for name, kind in kinds.items() if kind in defaults}
    rest = {name: () if "tuple" in kind else None for name, kind in kinds.items() if name not in plain}
    status = ExpertStatus(**{**plain, **rest, "tier": Tier.DEVICE, "aliases": ("a",)})
    assert expert_status_from({**asdict(status), "aliases": ["a"]}) == status


CALL = {"id": "a", "type": "function", "function": {"name": "add", "arguments": '{"x": 1}'}}
SHORT = {  # the least that a server says of its decision
    "expert": "tools",
    "why": "model",
    "tier": "device",
    "switch": {
        "kind": "device_hit",
        "queue_ms": 1.0,
        "evict_ms": 0.0,
        "load_ms": 0.0,
        "first_token_ms": 2.0,
        "loaded_bytes": 0,
        "evicted_bytes": 0,
    },
}


def test_an_answer_has_its_thoughts_and_calls_and_is_a_turn_of_the_conversation() -> None:
    said = {"role": "assistant", "content": None, "reasoning_content": "One more.", "tool_calls": [CALL]}
    body = {"choices": [{"index": 0, "message": said, "finish_reason": "tool_calls"}], "usage": None, "coe": SHORT}
    answer = whole_answer_from(body)
    assert (answer.text, answer.reasoning, answer.finish_reason) == ("", "One more.", "tool_calls")
    assert answer.tool_calls == (ToolCall("a", "add", '{"x": 1}'),)
    assert answer.message == {"role": "assistant", "content": None, "tool_calls": [CALL]}
    assert Choice("hi", "stop").message == {"role": "assistant", "content": "hi"}


def test_a_decision_without_its_explanation_has_what_it_has() -> None:
    decision = decision_from(SHORT)
    assert (decision.expert, decision.why, decision.category, decision.confidence) == ("tools", "model", None, None)
    assert (decision.because, decision.probabilities, decision.nearest, decision.passed_over) == ("", {}, (), ())


def test_a_completions_log_probabilities_are_one_object_a_token() -> None:
    lists = {
        "tokens": ["a", "b"],
        "token_logprobs": [None, -1.0],
        "top_logprobs": [None, {"b": -1.0}],
        "text_offset": [0, 1],
    }
    choice = {"index": 0, "text": "ab", "finish_reason": "stop", "logprobs": lists}
    (found,) = completion_from({"choices": [choice], "usage": None, "coe": SHORT}).choices
    assert (found.text, found.finish_reason) == ("ab", "stop")
    assert found.logprobs == (
        {"token": "a", "logprob": None, "top_logprobs": None, "text_offset": 0},
        {"token": "b", "logprob": -1.0, "top_logprobs": {"b": -1.0}, "text_offset": 1},
    )


def test_vectors_are_read_from_base64_and_from_numbers_in_the_order_of_the_texts() -> None:
    packed = base64.b64encode(struct.pack("<2f", 0.5, -2.0)).decode()
    data = [{"index": 1, "embedding": [1.0, 0.0]}, {"index": 0, "embedding": packed}]
    found = embeddings_from({"data": data, "model": "coe", "usage": {"prompt_tokens": 5}})
    assert found == Embeddings(((0.5, -2.0), (1.0, 0.0)), "coe", 5)
