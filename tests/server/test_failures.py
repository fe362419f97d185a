"""Every class of error has its status, type, code and, where trying again helps, a time to wait."""

from __future__ import annotations

import logging

import pytest

from coe.errors import (
    BreakerOpenError,
    CancelledError,
    CoeError,
    ConfigError,
    ContextLengthError,
    DeadlineError,
    EngineError,
    ExpertTooLargeError,
    InvalidRequestError,
    OverloadedError,
    PinnedOutError,
    ShutdownError,
    UnknownExpertError,
    WeightsError,
)
from server.failures import failure_of


@pytest.mark.parametrize(
    ("error", "status", "code", "retry_after"),
    [
        (ContextLengthError("x", param="messages"), 400, "context_length_exceeded", None),
        (UnknownExpertError("x", param="model"), 404, "model_not_found", None),
        (InvalidRequestError("x", param="n"), 400, None, None),
        (OverloadedError("x"), 429, "overloaded", "1"),
        (OverloadedError("x", retry_after_s=6.2), 429, "overloaded", "7"),
        (BreakerOpenError("math", "x", 0.3), 503, "expert_unavailable", "1"),
        (PinnedOutError("math", ("a", "b")), 503, "expert_unavailable", None),
        (ExpertTooLargeError("math", "x"), 400, "expert_too_large", None),
        (DeadlineError("x"), 504, "deadline_exceeded", None),
        (CancelledError("x"), 499, "cancelled", None),
        (ShutdownError("x"), 503, "shutting_down", "5"),
        (EngineError("x"), 503, "engine_failed", "5"),
        (WeightsError("math", "x"), 503, "expert_unavailable", None),
    ],
)
def test_each_class_has_its_row(error: CoeError, status: int, code: str | None, retry_after: str | None) -> None:
    failure = failure_of(error)
    body = failure.body["error"]
    assert (failure.status, body["code"], failure.headers.get("retry-after")) == (status, code, retry_after)
    assert body["message"] == str(error)
    assert body["param"] == getattr(error, "param", None)


@pytest.mark.parametrize("error", [ConfigError("late"), ZeroDivisionError("bug")])
def test_what_no_row_has_is_a_500_that_is_logged(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, logger="coe.server"):
        failure = failure_of(error)
    assert (failure.status, failure.body["error"]["type"]) == (500, "server_error")
    assert "failed unexpectedly" in caplog.text
