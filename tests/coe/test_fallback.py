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
    ExpertTooLargeError,
    InvalidRequestError,
    OverloadedError,
    PinnedOutError,
    ShutdownError,
    WeightsError,
)
from coe.fallback import Patience, pass_over, patience_for, reason_to_pass_over, with_fallbacks
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


@pytest.mark.parametrize("why", ["category", "rule", "cost", "conversation", "abstain", "general"])
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
        (ExpertTooLargeError("code", "large"), "failing"),
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
    assert reason_to_pass_over(error) == reason


def test_what_a_stand_in_cannot_do_passes_it_over() -> None:
    assert reason_to_pass_over(ContextLengthError("long"), stands_in=True) == "unfit"
    assert reason_to_pass_over(InvalidRequestError("no such token"), stands_in=True) == "unfit"
    assert reason_to_pass_over(ShutdownError("closing"), stands_in=True) is None


@pytest.mark.parametrize(
    ("alternatives", "left_s", "commit_s", "patience"),
    [
        (("sql", "general"), 300.0, None, Patience(100.0, gives_up=True)),
        (("general",), 200.0, None, Patience(100.0, gives_up=True)),
        ((), 100.0, None, Patience(None)),  # the engine ends it at its deadline
        (("sql", "general"), 300.0, 5.0, Patience(5.0)),
        (("sql", "general"), 9.0, 5.0, Patience(3.0, gives_up=True)),
        ((), 9.0, 5.0, Patience(5.0)),
    ],
)
def test_an_expert_has_its_share_of_the_time_left_unless_the_client_is_told_of_it_before(
    alternatives: tuple[str, ...], left_s: float, commit_s: float | None, patience: Patience
) -> None:
    decision = Decision("code", None, None, "category", "x", alternatives=alternatives)
    assert patience_for(decision, left_s, commit_s) == patience
