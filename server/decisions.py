"""A decision and what it cost, as JSON and as headers: the `coe` object, /v1/route's answer, the x-coe-… headers.

These are coe's own shapes, the same in every dialect. Who did not ask for an explanation gets a short one: at most 300
bytes. Knows nothing about how a decision is made.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from coe.types import Cached, CostTerm, Decision, Neighbour, Routed, ShadowChoice, Switch

__all__ = ["coe_object", "decision_headers", "decision_object", "route_object"]


def coe_object(routed: Routed, switch: Switch | None = None, *, explains: bool = False) -> dict[str, Any]:
    """Return the decision, the tier that the expert was in, and with `switch` what the switch cost.

    What was changed for the template, who was passed over and which kept answer it is stand there if there is something
    to say; with `explains` the whole decision does.
    """
    decision = routed.decision
    described: dict[str, Any] = decision_object(decision) if explains else _short(decision)
    described["tier"] = str(routed.tier)
    if routed.changed or explains:
        described["changed"] = list(routed.changed)
    if routed.cached is not None or explains:
        described["cached"] = None if routed.cached is None else _cached_object(routed.cached)
    if switch is not None:
        described["switch"] = _switch_object(switch)
    return described


def _short(decision: Decision) -> dict[str, Any]:
    short: dict[str, Any] = {
        "expert": decision.expert,
        "category": decision.category,
        "confidence": _rounded(decision.confidence),
        "why": decision.why,
    }
    if decision.passed_over:
        short["passed_over"] = _passed_over(decision)
    return short


def _passed_over(decision: Decision) -> list[dict[str, Any]]:
    return [{"expert": passed.expert, "reason": passed.reason} for passed in decision.passed_over]


def _switch_object(switch: Switch) -> dict[str, Any]:
    """Milliseconds from submission to the first token, of them those in the queue, of making room and of loading, and
    bytes."""
    return {
        "kind": str(switch.kind),
        "queue_ms": _ms(max(0.0, switch.wait_s - switch.load_s)),
        "evict_ms": _ms(switch.evict_s),
        "load_ms": _ms(switch.load_s),
        "first_token_ms": _ms(switch.first_token_s),
        "loaded_bytes": switch.loaded_bytes,
        "evicted_bytes": switch.evicted_bytes,
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 1)


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
        "passed_over": _passed_over(decision),
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
    if routed.switch is not None:
        cost = _switch_object(routed.switch)
        named["x-coe-switch"] = "; ".join(f"{what}={value}" for what, value in cost.items())
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
