"""Failures have Anthropic's shape at its endpoints, and OpenAI's elsewhere."""

from __future__ import annotations

import pytest

from coe.errors import (
    AuthenticationError,
    CoeError,
    DeadlineError,
    InvalidRequestError,
    StartingError,
    TooLargeError,
    UnknownExpertError,
)
from server.anthropic.errors import shaped
from server.failures import failure_of


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InvalidRequestError("x"), "invalid_request_error"),
        (AuthenticationError("x"), "authentication_error"),
        (UnknownExpertError("x"), "not_found_error"),
        (TooLargeError("x"), "request_too_large"),
        (StartingError("x"), "overloaded_error"),
        (DeadlineError("x"), "timeout_error"),
    ],
)
def test_types(error: CoeError, kind: str) -> None:
    failure = failure_of(error)
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        expected = {"type": "error", "error": {"type": kind, "message": "x"}, "request_id": "r"}
        assert shaped(failure, path, "r") == failure._replace(body=expected)
    assert shaped(failure, "/v1/messagesx", "r") == failure


def test_what_nobody_raised_on_purpose_is_an_api_error() -> None:
    assert shaped(failure_of(ValueError("secret")), "/v1/messages", "r").body["error"]["type"] == "api_error"
