"""The router's decision over HTTP: POST /v1/route, the `coe` object in every answer, and the x-coe-… headers.

These are coe's own shapes, the same in every dialect. Knows nothing about how a decision is made.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from pydantic import Field, model_validator

from coe.config.schema import COMPOSITION
from coe.errors import InvalidRequestError
from coe.preparation import routed_messages
from coe.runtime import Runtime
from coe.types import Cached, CostTerm, Decision, Message, Neighbour, Routed, RouteQuery, ShadowChoice, Switch
from server.access.caller import Caller, caller_of
from server.bodies import BodyReader, check_num_messages, refuse_unknown, validated
from server.openai.fields import FromJson
from server.openai.requests import HARMLESS, NEUTRAL, ChatRequest
from server.openai.turns import Turn, messages_of

__all__ = ["coe_object", "conversation_of", "decision_headers", "decision_object", "route_object", "routing_routes"]

CONVERSATION = "x-coe-conversation"


class RouteRequest(FromJson):
    """The body of POST /v1/route: a prompt or a conversation, and perhaps a model and tools.

    A chat request can be asked as it is: what says how to answer is ignored.
    """

    model: str = COMPOSITION
    prompt: str | None = None
    messages: list[Turn] = Field(default_factory=list)
    tools: list[Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, raw: Any) -> Any:
        if isinstance(raw, dict):
            refuse_unknown(raw, {*cls.model_fields, *ChatRequest.model_fields, *NEUTRAL, *HARMLESS})
        return raw

    def query(self, caller: Caller, conversation: str | None = None) -> RouteQuery:
        if self.prompt is None and not self.messages:
            raise InvalidRequestError("send prompt or messages", param="prompt")
        messages = messages_of(self.messages) or (Message("user", self.prompt or ""),)
        expert = None if self.model.lower() == COMPOSITION else self.model
        return RouteQuery(
            routed_messages(messages), expert, bool(self.tools), conversation, owner=caller.owner, only_explains=True
        )


def routing_routes(runtime: Runtime, read_body: BodyReader) -> APIRouter:
    """Return the endpoint that says which expert would answer, without an answer."""
    routes = APIRouter()

    @routes.post("/v1/route")
    async def route(request: Request) -> dict[str, Any]:
        body = await read_body(request)
        check_num_messages(body, runtime.experts.longest_context)
        asked = validated(RouteRequest, body)
        return route_object(await runtime.route(asked.query(caller_of(request), conversation_of(request))))

    return routes


def conversation_of(request: Request) -> str | None:
    """Return the client's own name for the conversation; None without the header, or with an empty one."""
    return request.headers.get(CONVERSATION) or None


def coe_object(routed: Routed, switch: Switch | None = None) -> dict[str, Any]:
    """Return the decision, the expert's tier, what was changed for its template and which kept answer it is; with
    `switch`, what the switch cost, in milliseconds and bytes."""
    described: dict[str, Any] = {**decision_object(routed.decision), "tier": str(routed.tier)}
    described["changed"] = list(routed.changed)
    described["cached"] = None if routed.cached is None else _cached_object(routed.cached)
    if switch is not None:
        described["switch"] = {
            "kind": str(switch.kind),
            "loaded_bytes": switch.loaded_bytes,
            "load_ms": round(switch.load_s * 1e3, 3),
            "wait_ms": round(switch.wait_s * 1e3, 3),
            "first_token_ms": round(switch.first_token_s * 1e3, 3),
        }
    return described


def decision_object(decision: Decision) -> dict[str, Any]:
    """Return the whole decision: expert, category, why, probabilities (likeliest first), nearest training prompts."""
    ranked = sorted(decision.probabilities.items(), key=lambda item: -item[1])
    return {
        "expert": decision.expert,
        "category": decision.category,
        "confidence": _rounded(decision.confidence),
        "why": decision.why,
        "because": decision.because,
        "rule": decision.rule,
        "instead_of": decision.instead_of,
        "alternatives": list(decision.alternatives),
        "passed_over": [{"expert": passed.expert, "reason": passed.reason} for passed in decision.passed_over],
        "cost": None if decision.cost is None else _cost_object(decision.cost),
        "probabilities": {category: _rounded(probability) for category, probability in ranked},
        "nearest": [_neighbour_object(neighbour) for neighbour in decision.nearest],
    }


def route_object(decision: Decision) -> dict[str, Any]:
    """Return the whole decision and what a router in shadow says, which no answer has."""
    shadow = None if decision.shadow is None else _shadow_object(decision.shadow)
    return {**decision_object(decision), "shadow": shadow}


def decision_headers(routed: Routed) -> dict[str, str]:
    """Return the decision as headers; what is not plain ASCII in a name is percent-encoded."""
    decision = routed.decision
    named = {
        "x-coe-expert": decision.expert,
        "x-coe-category": decision.category or "",
        "x-coe-confidence": "" if decision.confidence is None else f"{decision.confidence:.4f}",
        "x-coe-why": decision.why,
        "x-coe-tier": str(routed.tier),
    }
    if decision.passed_over:
        passed_over = (f"{passed.expert};reason={passed.reason}" for passed in decision.passed_over)
        named["x-coe-passed-over"] = ", ".join(passed_over)
    if (cached := routed.cached) is not None:
        named["x-coe-cache"] = f"hit; kind={cached.kind}; similarity={cached.similarity:.4f}; age={cached.age_s:.0f}"
    return {name: quote(value, safe=" !#$&'()*+,/:;=?@[]~") for name, value in named.items()}


def _cached_object(cached: Cached) -> dict[str, Any]:
    return {"kind": cached.kind, "similarity": _rounded(cached.similarity), "age_s": round(cached.age_s, 3)}


def _cost_object(cost: CostTerm) -> dict[str, Any]:
    return {
        "score_per_second": cost.score_per_second,
        "mapped": cost.mapped,
        "mapped_score": cost.mapped_score,
        "mapped_load_s": _rounded(cost.mapped_load_s),
        "chosen": cost.chosen,
        "chosen_score": cost.chosen_score,
        "chosen_load_s": _rounded(cost.chosen_load_s),
    }


def _shadow_object(shadow: ShadowChoice) -> dict[str, Any]:
    return {**asdict(shadow), "confidence": _rounded(shadow.confidence)}


def _neighbour_object(neighbour: Neighbour) -> dict[str, Any]:
    return {
        "id": neighbour.id,
        "source": neighbour.source,
        "category": neighbour.category,
        "license": neighbour.license,
        "cosine": _rounded(neighbour.cosine),
        "text": neighbour.text,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
