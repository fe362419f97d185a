"""HTTP errors as CoeErrors: the classes that the server raised, and what went wrong with the connection.

The server's side of the table is server/failures.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from coe.errors import (
    AuthenticationError,
    CoeError,
    ContentTypeError,
    ContextLengthError,
    DeadlineError,
    EngineError,
    FeedbackError,
    InvalidRequestError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitError,
    RequestError,
    ShutdownError,
    SlowRequestError,
    StartingError,
    TooLargeError,
    UnknownExpertError,
    UnknownRequestError,
)

__all__ = ["connection_errors", "error_in", "raise_for", "read_json"]

OF_THE_REQUEST: Mapping[str, type[RequestError]] = {
    "context_length_exceeded": ContextLengthError,
    "model_not_found": UnknownExpertError,
    "request_not_found": UnknownRequestError,
    "request_too_large": TooLargeError,
    "request_timeout": SlowRequestError,
    "unsupported_media_type": ContentTypeError,
}
OF_THE_SERVER: Mapping[str, type[CoeError]] = {
    "overloaded": OverloadedError,
    "too_many_connections": OverloadedError,
    "invalid_api_key": AuthenticationError,
    "permission_denied": PermissionDeniedError,
    "rate_limit_exceeded": RateLimitError,
    "deadline_exceeded": DeadlineError,
    "feedback_unavailable": FeedbackError,
    "starting": StartingError,
    "shutting_down": ShutdownError,
    "engine_failed": EngineError,
}


@contextmanager
def connection_errors() -> Iterator[None]:
    """Turn what httpx raises about the connection into a CoeError that says what to do."""
    try:
        yield
    except httpx.ConnectError as error:
        url = error.request.url.copy_with(raw_path=b"/")
        raise CoeError(f"no server answers at {url} ({error}); start one with `coe serve` or name its URL") from error
    except httpx.TimeoutException as error:
        raise DeadlineError(f"the server did not answer in time ({error!r}); raise timeout_s") from error
    except httpx.TransportError as error:
        raise CoeError(f"the connection to the server broke: {error!r}; ask again") from error


def read_json(response: httpx.Response) -> dict[str, Any]:
    """Return the body of an answer; raises the server's error for any other response."""
    raise_for(response)
    body: dict[str, Any] = response.json()
    return body


def raise_for(response: httpx.Response) -> None:
    """Raise the error that a response reports, if it reports one; its body has been read."""
    if not response.is_error:
        return
    try:
        body = response.json()
    except ValueError:
        body = {}
    error = error_in(body, response.status_code)
    if (wait_s := response.headers.get("retry-after", "")).isdecimal():
        error.retry_after_s = float(wait_s)
    raise error


def error_in(body: Mapping[str, Any], status: int) -> CoeError:
    """Return the error in an OpenAI-style body, as the class that the server raised."""
    error = body.get("error") or {"message": f"the server answered {status}", "code": None, "param": None}
    message, code, param = error["message"], error["code"], error["param"]
    if code in OF_THE_REQUEST:
        return OF_THE_REQUEST[code](message, param=param)
    if status == 400:
        return InvalidRequestError(message, param=param)
    return OF_THE_SERVER.get(code, CoeError)(message)
