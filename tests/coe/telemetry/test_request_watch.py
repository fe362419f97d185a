"""A request counts once, under its last expert and outcome, whatever the number of its choices; no text is told."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from coe.errors import ShutdownError
from coe.telemetry.decisions import DecisionLog
from coe.telemetry.events import Happening, RequestChanged
from coe.telemetry.metrics import Metrics
from coe.telemetry.request_watch import RequestWatch, RequestWatches
from coe.types import (
    Decision,
    Delta,
    Finished,
    FinishReason,
    GenerateRequest,
    Message,
    PassedOver,
    Routed,
    Switch,
    SwitchKind,
    Tier,
    Usage,
)

REQUEST = GenerateRequest("r1", (Message("user", "a secret"),), owner="alice", request_id="mine")
PROBABILITIES = {"sql": 0.7, "code": 0.1, "law": 0.08, "math": 0.07, "cyber": 0.03, "intent": 0.02}
DECISION = Decision("sql", "sql", 0.7, "category", "a secret", PROBABILITIES, because="it is like sql")
OTHER = Decision("code", "sql", 0.7, "category", "a secret", passed_over=(PassedOver("sql", "failing"),))


class Told:
    def __init__(self) -> None:
        self.metrics, self.events = Metrics(), list[Happening]()
        self.watches = RequestWatches(self.metrics, DecisionLog(10, keeps_prompts=True), self.events.append)

    @property
    def requests(self) -> list[RequestChanged]:
        return [event for event in self.events if isinstance(event, RequestChanged)]


def finished(index: int, wait_s: float = 0.1) -> Finished:
    return Finished(
        FinishReason.STOP, Usage(9, 4, 3 + index), Switch(SwitchKind.DEVICE_HIT, 0, 0.0, wait_s, 0.2), index
    )


def test_a_request_counts_once_under_its_last_expert_and_outcome() -> None:
    told = Told()
    with told.watches.watched(REQUEST):
        pass  # nobody was asked
    with told.watches.watched(REQUEST) as watch:
        watch.decided(DECISION)
        watch.decided(OTHER)
        watch.outcome = "ok"
    with told.watches.watched(REQUEST) as watch:
        watch.decided(OTHER)  # its client left
    for error in (ShutdownError("over"), ZeroDivisionError("a bug")):
        with pytest.raises(type(error)):
            failing_request(told.watches, error)
    outcomes = ("ok", "cancelled", "ShutdownError", "ZeroDivisionError")
    assert told.metrics.snapshot().requests == {("code", outcome): 1 for outcome in outcomes}
    ends = [event for event in told.requests if event.outcome]
    assert [(end.phase, end.expert, end.outcome) for end in ends] == [
        ("failed", None, "cancelled"),
        *(("finished" if outcome == "ok" else "failed", "code", outcome) for outcome in outcomes),
    ]


def failing_request(watches: RequestWatches, error: Exception) -> None:
    with watches.watched(REQUEST) as watch:
        watch.decided(OTHER)
        raise error


def answered(watch: RequestWatch) -> None:
    watch.decided(DECISION)
    watch.admitted()
    watch.took(Routed(DECISION, Tier.HOST, 9))
    for index in (0, 1):
        watch.took(Delta("x", (1,), index))
        watch.took(Delta("y", (2,), index))
    watch.took(finished(0))
    watch.took(finished(1, wait_s=0.05))
    watch.outcome = "ok"


def test_choices_are_one_request_with_one_first_token_and_one_prompt() -> None:
    told = Told()
    with told.watches.watched(REQUEST) as watch:
        answered(watch)
        (running,) = told.watches.running()
        assert running.phase == "first_token"
    assert told.watches.running() == []
    assert [event.phase for event in told.requests] == ["arrived", "decided", "admitted", "first_token", "finished"]
    last = told.requests[-1]
    assert (last.prompt_tokens, last.completion_tokens, last.cached_tokens, last.wait_s) == (9, 8, 3, 0.05)
    assert sum(told.metrics.snapshot().first_token.counts) == 1
    assert told.metrics.snapshot().requests == {("sql", "ok"): 1}


def test_the_decision_is_told_with_its_likeliest_categories_and_no_text() -> None:
    told = Told()
    with told.watches.watched(REQUEST) as watch:
        answered(watch)
        watch.decided(OTHER)
    first, again = (event for event in told.requests if event.phase == "decided")
    assert list(first.probabilities or {}) == ["sql", "code", "law", "math", "cyber"]
    assert (first.request_id, first.key, first.because, first.passed_over) == ("mine", "alice", "it is like sql", None)
    assert (again.expert, again.passed_over) == ("code", ("sql",))
    assert "secret" not in str([asdict(event) for event in told.requests])
