"""Every class of error has its status, type, code and, where trying again helps, a time to wait."""

from __future__ import annotations

import pytest

from coe.errors import (
    AuthenticationError,
    BreakerOpenError,
    CancelledError,
    CoeError,
    ConfigError,
    ContentTypeError,
    ContextLengthError,
    DeadlineError,
    EngineError,
    ExpertTooLargeError,
    InvalidRequestError,
    OverloadedError,
    PermissionDeniedError,
    PinnedOutError,
    RateLimitError,
    ShutdownError,
    SlowRequestError,
    StartingError,
    TooLargeError,
    UnknownExpertError,
    WeightsError,
    shown,
)
from server.failures import failure_of, without_paths


@pytest.mark.parametrize(
    ("error", "status", "code", "retry_after"),
    [
        (ContextLengthError("x", param="messages"), 400, "context_length_exceeded", None),
        (UnknownExpertError("x", param="model"), 404, "model_not_found", None),
        (InvalidRequestError("x", param="n"), 400, None, None),
        (TooLargeError("x"), 413, "request_too_large", None),
        (SlowRequestError("x"), 408, "request_timeout", None),
        (ContentTypeError("x"), 415, "unsupported_media_type", None),
        (AuthenticationError("x"), 401, "invalid_api_key", None),
        (PermissionDeniedError("x"), 403, "permission_denied", None),
        (RateLimitError("x", retry_after_s=6.2), 429, "rate_limit_exceeded", "7"),
        (OverloadedError("x"), 429, "overloaded", "1"),
        (OverloadedError("x", retry_after_s=6.2), 429, "overloaded", "7"),
        (BreakerOpenError("math", "x", 0.3), 503, "expert_unavailable", "1"),
        (PinnedOutError("math", ("a", "b")), 503, "expert_unavailable", None),
        (ExpertTooLargeError("math", "x"), 400, "expert_too_large", None),
        (DeadlineError("x"), 504, "deadline_exceeded", None),
        (CancelledError("x"), 499, "cancelled", None),
        (StartingError("x"), 503, "starting", "5"),
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


@pytest.mark.parametrize("error", [ConfigError("/etc/coe.toml is late"), ZeroDivisionError("the prompt")])
def test_what_no_row_has_is_a_500_that_says_nothing(error: Exception) -> None:
    failure = failure_of(error)
    assert (failure.status, failure.body["error"]["type"]) == (500, "server_error")
    assert failure.body["error"]["message"] == "internal error; the server's log has its cause"


@pytest.mark.parametrize(
    ("message", "public"),
    [
        ("/srv/models/math/model.safetensors has 0 bytes", "(path) has 0 bytes"),
        ("no file '/srv/my models/x.json'; add it", "no file '(path)'; add it"),
        ("[Errno 2] No such file or directory: '/srv/x'", "[Errno 2] No such file or directory: '(path)'"),
        ("unit at ~/.cache/coe/store/ab: short", "unit at (path): short"),
        ("read(file=/srv/x, offset=3)", "read(file=(path), offset=3)"),
        ("see file:///srv/x or ../models/x", "see (path) or (path)"),
        (r"C:\models\x is short", "(path) is short"),
        ("/srv: not a folder", "(path): not a folder"),
        ("5 GB/s and 3/4 of https://hub.example/a/b", "5 GB/s and 3/4 of https://hub.example/a/b"),
        ("ask /admin/experts or POST /v1/route", "ask /admin/experts or POST /v1/route"),
        ("HuggingFaceTB/SmolLM2 has no tokenizer", "HuggingFaceTB/SmolLM2 has no tokenizer"),
    ],
)
def test_no_path_of_the_machine_is_told_but_to_operators(message: str, public: str) -> None:
    assert without_paths(message) == public
    error = WeightsError("math", message)
    assert failure_of(error).body["error"]["message"] == f"expert 'math': {public}"
    assert failure_of(error, names_paths=True).body["error"]["message"] == f"expert 'math': {message}"


@pytest.mark.parametrize(
    "value",
    ["x" * 10**6, "'" * 100, "\x00" * 100, ["y" * 10**6] * 10**5, {"z" * 10**6: 1}, 10**200, 1.5, None, [[[[[[1]]]]]]],
)
def test_a_value_that_a_client_sent_is_shown_in_80_characters(value: object) -> None:
    text = shown(value)
    assert len(text) <= 80
    assert text.isprintable()


def test_no_message_is_as_long_as_a_request() -> None:
    assert len(failure_of(InvalidRequestError("x" * 10**6)).body["error"]["message"]) == 2000
    assert shown("nobody") == "'nobody'"
