"""The line below an answer."""

from __future__ import annotations

from dataclasses import replace

from coe.cli.chat.summary import summary
from coe.client import Answer, Choice
from coe.types import Cached, Decision, PassedOver, Switch, SwitchKind, Tier, Usage

ANSWER = Answer(
    (Choice("hi", "stop"),),
    Decision("code", "code", 0.973, "category", ""),
    Tier.HOST,
    Usage(9, 21),
    Switch(SwitchKind.HOST_HIT, 12_300_000, 0.04, 0.05, 0.212),
)


def test_it_says_who_why_and_what_the_switch_cost() -> None:
    assert summary(ANSWER, 2.0) == (
        "code (category, category code at 0.97) · host hit, 12.3 MB in 0.04 s · first token 0.21 s"
        " · 21 tokens at 10.0/s"
    )


def test_it_leaves_out_what_there_is_not() -> None:
    named = Decision("code", None, None, "model", "")
    warm = Switch(SwitchKind.DEVICE_HIT, 0, 0.0, 0.0, 0.1)
    answer = replace(ANSWER, decision=named, switch=warm, usage=Usage(9, 1))
    assert summary(answer, 0.0) == "code (model) · device hit · first token 0.10 s · 1 tokens"
    assert summary(replace(answer, usage=None), 0.0) == "code (model) · device hit · first token 0.10 s"


def test_it_says_what_was_passed_over_and_that_an_answer_was_kept() -> None:
    decision = replace(ANSWER.decision, passed_over=(PassedOver("math", "queue"),))
    answer = replace(ANSWER, decision=decision, cached=Cached("exact", 1.0, 12.4))
    assert summary(answer, 0.0) == (
        "code (category, category code at 0.97, in place of math (queue)) · a kept answer (exact, 12 s old) · 21 tokens"
    )
