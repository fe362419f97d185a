"""The server's JSON as values: Answer, Embeddings, Decision, ExpertStatus, StoreStatus.

Owns which JSON field becomes which field of a value. Fields of newer servers are left out, and what an answer leaves
out of its explanation is empty. Knows nothing about HTTP.
"""

from __future__ import annotations

import array
import base64
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from coe.statuses import AnswersStatus, ExpertStatus, StoreStatus, UnitStatus
from coe.types import (
    Cached,
    CostTerm,
    Decision,
    Neighbour,
    PassedOver,
    ShadowChoice,
    Switch,
    SwitchKind,
    Tier,
    ToolCall,
    Usage,
)

__all__ = [
    "Answer",
    "Choice",
    "Completions",
    "Embeddings",
    "answer_from",
    "answers_status_from",
    "completion_from",
    "completions_from",
    "decision_from",
    "embeddings_from",
    "expert_status_from",
    "expert_statuses_from",
    "reasoning_in",
    "store_status_from",
    "whole_answer_from",
]

JsonObject = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Choice:
    """One text of an answer, what was thought before it, and the tools that it calls.

    `logprobs` are OpenAI's objects, one a token; None where the request asked for none.
    """

    text: str
    finish_reason: str
    logprobs: tuple[JsonObject, ...] | None = None
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()

    @property
    def message(self) -> dict[str, Any]:
        """The assistant's turn, as the next request of the conversation has it; thoughts are left out."""
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in self.tool_calls
        ]
        said = {"role": "assistant", "content": self.text or None if calls else self.text}
        return {**said, "tool_calls": calls} if calls else said


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
    def reasoning(self) -> str:
        return self.choices[0].reasoning

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return self.choices[0].tool_calls

    @property
    def message(self) -> dict[str, Any]:
        """The first choice as an assistant's turn: append it to the conversation."""
        return self.choices[0].message

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


@dataclass(frozen=True, slots=True)
class Completions:
    """An answer to each prompt of a list, in its order; tokens are counted for all together."""

    answers: tuple[Answer, ...]
    usage: Usage


@dataclass(frozen=True, slots=True)
class Embeddings:
    """A vector for each text that was sent, in its order."""

    vectors: tuple[tuple[float, ...], ...]
    model: str
    prompt_tokens: int


def whole_answer_from(body: JsonObject) -> Answer:
    """Return the answer in a chat completion that came in one piece."""
    return answer_from(tuple(map(_choice_from, body["choices"])), body["coe"], body["usage"])


def completion_from(body: JsonObject) -> Answer:
    """Return the answer in a completion; its log-probabilities become one object a token, as a chat completion's."""
    return answer_from(tuple(map(_text_choice_from, body["choices"])), body["coe"], body["usage"])


def completions_from(body: JsonObject) -> Completions:
    """Return the answers to a list of prompts: the choices of each stand in a row, and `prompts` has its decision."""
    choices = sorted(body["choices"], key=lambda each: int(each["index"]))
    decided = body["coe"].get("prompts") or [body["coe"]]
    num_each = len(choices) // len(decided)
    answers = tuple(
        answer_from(tuple(map(_text_choice_from, choices[at * num_each : (at + 1) * num_each])), coe, None)
        for at, coe in enumerate(decided)
    )
    return Completions(answers, _usage_from(body["usage"]))


def embeddings_from(body: JsonObject) -> Embeddings:
    """Return the vectors in an answer of /v1/embeddings: base64 of little-endian float32, or lists of numbers."""
    data = sorted(body["data"], key=lambda each: int(each["index"]))
    return Embeddings(tuple(_vector(each["embedding"]) for each in data), body["model"], body["usage"]["prompt_tokens"])


def reasoning_in(message: JsonObject) -> str:
    """Return what a message, or a piece of one, says was thought; servers have two names for it."""
    return message.get("reasoning_content") or message.get("reasoning") or ""


def answer_from(choices: tuple[Choice, ...], coe: JsonObject, usage: JsonObject | None) -> Answer:
    """Return the answer of these choices; `coe` is the server's object of that name, with its `switch`."""
    cost = coe["switch"]
    switch = Switch(
        SwitchKind(cost["kind"]),
        cost["loaded_bytes"],
        cost["load_ms"] / 1e3,
        (cost["queue_ms"] + cost["load_ms"]) / 1e3,
        cost["first_token_ms"] / 1e3,
        cost["evicted_bytes"],
        cost["evict_ms"] / 1e3,
    )
    cached = None if coe.get("cached") is None else _value_of(Cached, coe["cached"])
    used = None if usage is None else _usage_from(usage)
    return Answer(choices, decision_from(coe), Tier(coe["tier"]), used, switch, cached)


def decision_from(body: JsonObject) -> Decision:
    """Return the decision in a `coe` object, which may be a short one, or in an answer of /v1/route.

    Its `text` stays with the server.
    """
    known = {field.name: body[field.name] for field in fields(Decision) if field.name in body}
    cost = None if body.get("cost") is None else _value_of(CostTerm, body["cost"])
    nearest = tuple(_value_of(Neighbour, each) for each in body.get("nearest", ()))
    passed_over = tuple(_value_of(PassedOver, each) for each in body.get("passed_over", ()))
    shadow = None if body.get("shadow") is None else _value_of(ShadowChoice, body["shadow"])
    tuples = {"nearest": nearest, "alternatives": tuple(body.get("alternatives", ())), "passed_over": passed_over}
    whole = {"category": None, "confidence": None, **known, "text": "", "cost": cost, "shadow": shadow, **tuples}
    return Decision(**whole)


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
    said = body["message"]
    logprobs = None if body.get("logprobs") is None else tuple(body["logprobs"]["content"] or ())
    calls = tuple(map(_call_from, said.get("tool_calls") or ()))
    return Choice(said.get("content") or "", body["finish_reason"], logprobs, reasoning_in(said), calls)


def _call_from(body: JsonObject) -> ToolCall:
    return ToolCall(body["id"], body["function"]["name"], body["function"]["arguments"])


def _text_choice_from(body: JsonObject) -> Choice:
    logprobs = None if body.get("logprobs") is None else tuple(_token_objects(body["logprobs"]))
    return Choice(body["text"], body["finish_reason"], logprobs)


def _token_objects(lists: JsonObject) -> list[JsonObject]:
    columns = (lists[name] for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"))
    names = ("token", "logprob", "top_logprobs", "text_offset")
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _vector(written: str | Sequence[float]) -> tuple[float, ...]:
    if not isinstance(written, str):
        return tuple(written)
    numbers = array.array("f", base64.b64decode(written))
    if sys.byteorder == "big":
        numbers.byteswap()
    return tuple(numbers)


def _usage_from(body: JsonObject) -> Usage:
    details = body.get("prompt_tokens_details") or {}
    return Usage(body["prompt_tokens"], body["completion_tokens"], details.get("cached_tokens", 0))


def _value_of(kind: type[T], body: JsonObject) -> T:
    """Return the dataclass `kind` with the JSON object's fields of the same names."""
    return kind(**{field.name: body[field.name] for field in fields(kind)})  # type: ignore[arg-type]
