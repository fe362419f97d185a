"""HTTP errors as CoeErrors: the classes that the server raised, and what went wrong with the connection.

The server's side of the table is server/failures.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from coe.client.retries import retry_after_s
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
    UnreachableError,
)

__all__ = ["connection_errors", "error_in", "raise_for", "read_json", "reading"]

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
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        url = error.request.url.copy_with(raw_path=b"/")
        raise UnreachableError(
            f"no server answers at {url} ({error}); start one with `coe serve` or name its URL"
        ) from error
    except httpx.TimeoutException as error:
        raise DeadlineError(f"the server did not answer in time ({error!r}); raise timeout_s") from error
    except httpx.TransportError as error:
        raise UnreachableError(f"the connection to the server broke: {error!r}; ask again") from error


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn what goes wrong with an answer of another server, or of another version, into a CoeError."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        hint = "is that the URL of a coe server, and of this version?"
        raise CoeError(f"{what}: the answer cannot be read ({error!r}); {hint}") from error


def read_json(response: httpx.Response) -> dict[str, Any]:
    """Return the body of an answer; raises the server's error for any other response."""
    raise_for(response)
    try:
        body: dict[str, Any] = response.json()
    except ValueError as error:
        raise CoeError(f"{response.url} answered no JSON; is that the URL of a coe server?") from error
    return body


def raise_for(response: httpx.Response) -> None:
    """Raise the error that a response reports, if it reports one; its body has been read."""
    if not response.is_error:
        return
    try:
        body = response.json()
    except ValueError:
        body = {}
    error = error_in(body if isinstance(body, dict) else {}, response.status_code)
    error.retry_after_s = retry_after_s(response.headers)
    raise error


def error_in(body: Mapping[str, Any], status: int) -> CoeError:
    """Return the error in an OpenAI-style body, as the class that the server raised."""
    found = body.get("error") or f"the server answered {status}"
    error = found if isinstance(found, Mapping) else {"message": str(found)}
    message, param = error.get("message", str(found)), error.get("param")
    code = str(error.get("code"))
    if code in OF_THE_REQUEST:
        return OF_THE_REQUEST[code](message, param=param)
    if status == 400:
        return InvalidRequestError(message, param=param)
    return OF_THE_SERVER.get(code, CoeError)(message)
