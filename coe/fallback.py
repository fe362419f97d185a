"""Passing over: who answers where the chosen expert cannot, and what is said of it.

A decision has at most two alternatives. A request that was routed has the router's: the next best expert by its
probabilities, then the general one. A request that names its expert has those of `fallbacks` in that expert's table.
Before its first byte, a request whose expert turns out to be refused, failing, full, too slow or pinned out goes to the
next one; what is wrong with the request itself goes back to the client. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import NamedTuple

from coe.errors import CoeError, DeadlineError, OverloadedError, PinnedOutError, RequestError
from coe.types import Decision, PassedOver, PassedOverReason

__all__ = ["Patience", "pass_over", "patience_for", "reason_to_pass_over", "with_fallbacks"]

NAMED = ("model", "mention")  # the client chose; a rule is the operator's choice for prompts that name nobody


class Patience(NamedTuple):
    """How long an attempt waits for its first event, and what follows: it is given up, or its expert is settled."""

    wait_s: float | None = None  # None: until the engine ends it
    gives_up: bool = False


def with_fallbacks(
    decision: Decision, fallbacks: Mapping[str, tuple[str, ...]], excluded: Collection[str] = ()
) -> Decision:
    """Return the decision; one that the client made has the alternatives that the configuration gives its expert.

    Those that the client excludes are none.
    """
    if decision.why not in NAMED:
        return decision
    able = tuple(name for name in fallbacks.get(decision.expert, ()) if name not in excluded)
    return replace(decision, alternatives=able)


def pass_over(decision: Decision, reason: PassedOverReason) -> Decision | None:
    """Return the decision for the next alternative, None where there is none."""
    if not decision.alternatives:
        return None
    expert, *others = decision.alternatives
    return replace(
        decision,
        expert=expert,
        alternatives=tuple(others),
        passed_over=(*decision.passed_over, PassedOver(decision.expert, reason)),
        because=f"{decision.because}; {decision.expert} is passed over ({reason}), {expert} answers",
    )


def patience_for(decision: Decision, left_s: float, commit_s: float | None) -> Patience:
    """Return how long to wait for the decision's expert, of `left_s` until the deadline.

    It shares them evenly with its alternatives. The client hears who answers after `commit_s`, if that comes before.
    """
    share_s = left_s / (1 + len(decision.alternatives))
    if decision.alternatives and (commit_s is None or share_s < commit_s):
        return Patience(share_s, gives_up=True)
    return Patience(commit_s)


def reason_to_pass_over(error: CoeError, *, stands_in: bool = False) -> PassedOverReason | None:
    """Return why an error lets its expert be passed over; None for one that another expert would not spare.

    An expert that stands in for another may be unfit for what was asked of that one.
    """
    if stands_in and isinstance(error, RequestError):
        return "unfit"
    if error.expert is None:
        return None
    match error:
        case OverloadedError():
            return "queue"
        case DeadlineError():
            return "deadline"
        case PinnedOutError():
            return "pinned"
    return "failing"
