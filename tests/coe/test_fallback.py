"""Passing over: the order of those who answer instead, and which errors lead to them."""

from __future__ import annotations

import pytest

from coe.errors import (
    BreakerOpenError,
    CancelledError,
    CoeError,
    ContextLengthError,
    DeadlineError,
    ExpertError,
    InvalidRequestError,
    OverloadedError,
    PinnedOutError,
    ShutdownError,
    TooLargeError,
    WeightsError,
)
from coe.fallback import pass_over, reason_of, with_fallbacks
from coe.types import Decision, PassedOver

ROUTED = Decision(
    "code", "code", 0.9, "category", "x", because="category code at 0.90", alternatives=("sql", "general")
)


def test_alternatives_answer_in_turn_and_each_hop_is_told() -> None:
    first = pass_over(ROUTED, "failing")
    assert first is not None
    assert (first.expert, first.why, first.category) == ("sql", "category", "code")
    second = pass_over(first, "queue")
    assert second is not None
    assert second.expert == "general"
    assert second.passed_over == (PassedOver("code", "failing"), PassedOver("sql", "queue"))
    assert second.because == (
        "category code at 0.90; code is passed over (failing), sql answers; sql is passed over (queue), general answers"
    )
    assert pass_over(second, "failing") is None


@pytest.mark.parametrize("why", ["category", "rule", "resident", "conversation", "abstain", "general"])
def test_a_routed_request_keeps_the_routers_alternatives(why: str) -> None:
    decision = Decision("code", None, None, why, "x", alternatives=("general",))
    assert with_fallbacks(decision, {"code": ("sql",)}) == decision


@pytest.mark.parametrize("why", ["model", "mention"])
def test_a_request_that_names_its_expert_has_what_the_configuration_says_and_else_nobody(why: str) -> None:
    decision = Decision("code", None, None, why, "x")
    assert with_fallbacks(decision, {"code": ("sql", "maths")}).alternatives == ("sql", "maths")
    assert pass_over(with_fallbacks(decision, {"sql": ("maths",)}), "failing") is None


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ExpertError("code", "its step failed"), "failing"),
        (WeightsError("code", "short"), "failing"),
        (TooLargeError("code", "large"), "failing"),
        (BreakerOpenError("code", "failed", 3.0), "failing"),
        (PinnedOutError("code", ("general",)), "pinned"),
        (OverloadedError("full", expert="code"), "queue"),
        (OverloadedError("all full"), None),
        (DeadlineError("its load takes too long", expert="code"), "deadline"),
        (DeadlineError("over"), None),
        (InvalidRequestError("n"), None),
        (ContextLengthError("long"), None),
        (CancelledError("gone"), None),
        (ShutdownError("closing"), None),
    ],
)
def test_only_what_is_about_the_expert_alone_passes_it_over(error: CoeError, reason: str | None) -> None:
    assert reason_of(error) == reason
