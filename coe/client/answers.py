"""The server's JSON as values: Answer, Decision, ExpertStatus, StoreStatus.

Owns which JSON field becomes which field of a value; fields of newer servers are left out. Knows nothing about HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from coe.statuses import AnswersStatus, ExpertStatus, StoreStatus, UnitStatus
from coe.types import Cached, CostTerm, Decision, Neighbour, PassedOver, ShadowChoice, Switch, SwitchKind, Tier, Usage

__all__ = [
    "Answer",
    "Choice",
    "answer_from",
    "answers_status_from",
    "decision_from",
    "expert_status_from",
    "expert_statuses_from",
    "store_status_from",
    "whole_answer_from",
]

JsonObject = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Choice:
    """One text of an answer. `logprobs` are OpenAI's objects, one a token; None where the request asked for none."""

    text: str
    finish_reason: str
    logprobs: tuple[JsonObject, ...] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What an expert said, why it was this expert, and what switching to it cost. A request with `n` has n choices."""

    choices: tuple[Choice, ...]
    decision: Decision
    tier: Tier  # where the expert's weights were when the request came
    usage: Usage | None
    switch: Switch
    cached: Cached | None = None  # which kept answer this is

    @property
    def text(self) -> str:
        return self.choices[0].text

    @property
    def finish_reason(self) -> str:
        return self.choices[0].finish_reason

    @property
    def expert(self) -> str:
        return self.decision.expert

    @property
    def category(self) -> str | None:
        return self.decision.category

    @property
    def confidence(self) -> float | None:
        return self.decision.confidence

    @property
    def why(self) -> str:
        return self.decision.why


def whole_answer_from(body: JsonObject) -> Answer:
    """Return the answer in a chat completion that came in one piece."""
    return answer_from(tuple(map(_choice_from, body["choices"])), body["coe"], body["usage"])


def answer_from(choices: tuple[Choice, ...], coe: JsonObject, usage: JsonObject | None) -> Answer:
    """Return the answer of these choices; `coe` is the server's object of that name, with its `switch`."""
    cost = coe["switch"]
    switch = Switch(
        SwitchKind(cost["kind"]),
        cost["loaded_bytes"],
        cost["load_ms"] / 1e3,
        cost["wait_ms"] / 1e3,
        cost["first_token_ms"] / 1e3,
    )
    cached = None if coe.get("cached") is None else _value_of(Cached, coe["cached"])
    used = None if usage is None else _usage_from(usage)
    return Answer(choices, decision_from(coe), Tier(coe["tier"]), used, switch, cached)


def decision_from(body: JsonObject) -> Decision:
    """Return the decision in a `coe` object or in an answer of /v1/route; its `text` stays with the server."""
    known = {field.name: body[field.name] for field in fields(Decision) if field.name in body}
    cost = None if body["cost"] is None else _value_of(CostTerm, body["cost"])
    nearest = tuple(_value_of(Neighbour, each) for each in body["nearest"])
    passed_over = tuple(_value_of(PassedOver, each) for each in body["passed_over"])
    shadow = None if body.get("shadow") is None else _value_of(ShadowChoice, body["shadow"])
    tuples = {"nearest": nearest, "alternatives": tuple(body["alternatives"]), "passed_over": passed_over}
    return Decision(**{**known, "text": "", "cost": cost, "shadow": shadow, **tuples})


def expert_statuses_from(body: JsonObject) -> list[ExpertStatus]:
    return [expert_status_from(each) for each in body["experts"]]


def expert_status_from(body: JsonObject) -> ExpertStatus:
    known = {field.name: body[field.name] for field in fields(ExpertStatus)}
    units = tuple(UnitStatus(**{**unit, "tier": Tier(unit["tier"])}) for unit in body["units"])
    lists = {name: tuple(body[name]) for name in ("aliases", "notes")}
    return ExpertStatus(**{**known, **lists, "tier": Tier(body["tier"]), "units": units})


def answers_status_from(body: JsonObject) -> AnswersStatus:
    return _value_of(AnswersStatus, body)


def store_status_from(body: JsonObject) -> StoreStatus:
    return _value_of(StoreStatus, body)


def _choice_from(body: JsonObject) -> Choice:
    logprobs = None if body["logprobs"] is None else tuple(body["logprobs"]["content"])
    return Choice(body["message"]["content"] or "", body["finish_reason"], logprobs)


def _usage_from(body: JsonObject) -> Usage:
    details = body.get("prompt_tokens_details") or {}
    return Usage(body["prompt_tokens"], body["completion_tokens"], details.get("cached_tokens", 0))


def _value_of(kind: type[T], body: JsonObject) -> T:
    """Return the dataclass `kind` with the JSON object's fields of the same names."""
    return kind(**{field.name: body[field.name] for field in fields(kind)})  # type: ignore[arg-type]
