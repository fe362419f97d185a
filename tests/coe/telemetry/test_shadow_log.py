"""A shadow's decisions are counted; a line tells of each that differs, and no prompt stands in it."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from coe.telemetry.metrics import Metrics
from coe.telemetry.shadow_log import ShadowLog
from coe.types import Decision, Message, RouteQuery, ShadowChoice

QUERY = RouteQuery((Message("user", "a secret"),))
DECISION = Decision("sql", "sql", 0.9, "category", "a secret", {"sql": 0.9, "math": 0.1})
SAME = ShadowChoice("0002", "sql", "sql", 0.7, "category")
OTHER = ShadowChoice("0002", "maths", "math", 0.61, "category")


def noted(*choices: ShadowChoice | None, query: RouteQuery = QUERY, decision: Decision = DECISION) -> dict[str, int]:
    metrics = Metrics()
    log = ShadowLog(metrics)
    for choice in choices:
        log.note(query, replace(decision, shadow=choice))
    return dict(metrics.snapshot().shadow)


def test_every_decision_is_counted_and_a_line_tells_of_one_that_differs(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "coe.shadow"):
        assert noted(SAME, OTHER, SAME, None) == {"same": 2, "different": 1}
    (line,) = caplog.messages
    assert "expert=sql category=sql confidence=0.900 why=category; version=0002 expert=maths category=math" in line
    assert "confidence=0.610" in line
    assert "secret" not in line


def test_what_is_only_explained_is_no_traffic(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "coe.shadow"):
        assert noted(OTHER, query=replace(QUERY, only_explains=True)) == {}
    assert caplog.messages == []


def test_two_guesses_are_the_same_and_a_guess_is_not_a_decision() -> None:
    unsure = replace(DECISION, expert="general", why="abstain")
    guess = ShadowChoice("0002", "general", "math", 0.2, "abstain")
    assert noted(guess, decision=unsure) == {"same": 1}
    assert noted(guess) == {"different": 1}
    assert noted(replace(SAME, category="math")) == {"different": 1}


def test_an_error_is_logged_once_of_each_kind_and_counted_each_time(caplog: pytest.LogCaptureFixture) -> None:
    key = ShadowChoice("0002", error="KeyError: in f, line 3")
    value = ShadowChoice("0002", error="ValueError: in g, line 4")
    assert noted(key, key, value, replace(key, error="KeyError: in h, line 9")) == {"failed": 4}
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "KeyError: in f, line 3" in caplog.messages[0]
