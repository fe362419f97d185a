"""What a request wishes of the decision: experts that it excludes, and experts that it prefers. Pure.

An excluded expert never answers: the next likeliest one does. A preferred one answers in the place of the chosen one
where its category is at least PREFER_SHARE times as likely as the likeliest. Who names an expert himself, or is sent by
a rule, prefers nobody else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from coe.errors import InvalidRequestError
from coe.types import Decision, RouteQuery
from router.directory import Directory

__all__ = ["PREFER_SHARE", "wished"]

PREFER_SHARE = 0.5
CHOSEN = ("model", "mention", "rule")


def wished(decision: Decision, query: RouteQuery, mapping: Mapping[str, str], directory: Directory) -> Decision:
    """Return the decision as the request wishes it.

    Raises:
        UnknownExpertError: the request excludes or prefers an expert that the directory does not have.
        InvalidRequestError: it excludes every expert that could answer.
    """
    if not query.exclude and not query.prefer:
        return decision
    excluded = {directory.requested(name) for name in query.exclude}
    preferred = [name for name in map(directory.requested, query.prefer) if name not in excluded]
    likely = _likely(decision, mapping, directory.general)
    chosen = _preferred(decision, preferred, likely)
    if chosen is not None:
        decision = _with(decision, chosen, f"the request prefers {chosen}")
    if decision.expert in excluded:
        able = (name for name in (*likely, directory.general) if name not in excluded | set(query.snapshot.broken))
        if decision.why in ("model", "mention") or (other := next(able, None)) is None:
            raise InvalidRequestError(
                f"coe.exclude leaves nobody to answer: {', '.join(sorted(excluded))}; exclude fewer experts",
                param="coe",
            )
        decision = _with(decision, other, f"the request excludes {decision.expert}, {other} answers")
    return replace(decision, alternatives=_without(decision, excluded))


def _likely(decision: Decision, mapping: Mapping[str, str], general: str) -> dict[str, float]:
    """Return the probability of each expert's likeliest category, the likeliest expert first."""
    found: dict[str, float] = {}
    for category, probability in sorted(decision.probabilities.items(), key=lambda item: -item[1]):
        found.setdefault(mapping.get(category, general), probability)
    return found


def _preferred(decision: Decision, preferred: list[str], likely: Mapping[str, float]) -> str | None:
    if decision.why in CHOSEN or decision.expert in preferred:
        return None
    least = PREFER_SHARE * max(likely.values(), default=1.0)
    return next((name for name in preferred if likely.get(name, 0.0) >= least), None)


def _with(decision: Decision, expert: str, why: str) -> Decision:
    because = f"{decision.because}; {why}" if decision.because else why
    return replace(
        decision, expert=expert, why="wish", because=because, instead_of=decision.expert, cost=None, rule=None
    )


def _without(decision: Decision, excluded: Collection[str]) -> tuple[str, ...]:
    """Return the alternatives that are not excluded; who was chosen first is one, if it may answer."""
    before = () if decision.instead_of is None or decision.why != "wish" else (decision.instead_of,)
    names = dict.fromkeys((*before, *decision.alternatives))
    return tuple(name for name in names if name not in excluded and name != decision.expert)[:2]
