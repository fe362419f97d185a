"""The server's JSON becomes the values that the server made it of."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from coe.client.answers import decision_from, expert_status_from, store_status_from, whole_answer_from
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
