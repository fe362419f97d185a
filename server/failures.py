"""One table from coe's errors to HTTP: status, OpenAI's type and code, and when to try again.

Every exception of an endpoint ends here: before the headers as a response, after them as an SSE event. What clients are
told names no path of the machine; the log has those. The client's side of the table is coe/client/errors.py.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

from starlette.exceptions import HTTPException

from coe.errors import (
    AuthenticationError,
    CancelledError,
    CoeError,
    ContentTypeError,
    ContextLengthError,
    DeadlineError,
    EngineError,
    ExpertError,
    ExpertTooLargeError,
    FeedbackError,
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
    shown,
)
from server.openai.objects import error_body
from server.request_log import current_record

__all__ = ["Failure", "failure_of", "without_paths"]

MAX_MESSAGE_CHARS = 2000
# what a path of the machine looks like in a message: in quotes, or after a blank, a bracket, = or :
_QUOTED_PATH = re.compile(r"""(?<=['"`])(?:~|file:|[A-Za-z]:)?[/\\](?!v1/|admin/)[^'"`\n]+(?=['"`])""")
_BARE_PATH = re.compile(
    r"""(?<![^\s(\[{=:,<'"`])(?:~|\.{1,2}|file:/*|[A-Za-z]:)?[/\\](?!/|v1/|admin/)[^\s'"`,;:)\]}>]+"""
)


class _Rule(NamedTuple):
    error: type[CoeError]
    status: int
    kind: str
    code: str | None = None
    retry_after_s: float | None = None  # for an error that does not know


# the first rule whose class fits counts
TABLE = (
    _Rule(ContextLengthError, 400, "invalid_request_error", "context_length_exceeded"),
    _Rule(UnknownExpertError, 404, "invalid_request_error", "model_not_found"),
    _Rule(UnknownRequestError, 404, "invalid_request_error", "request_not_found"),
    _Rule(TooLargeError, 413, "invalid_request_error", "request_too_large"),
    _Rule(SlowRequestError, 408, "invalid_request_error", "request_timeout"),
    _Rule(ContentTypeError, 415, "invalid_request_error", "unsupported_media_type"),
    _Rule(RequestError, 400, "invalid_request_error"),
    _Rule(ExpertTooLargeError, 400, "invalid_request_error", "expert_too_large"),
    _Rule(AuthenticationError, 401, "invalid_request_error", "invalid_api_key"),
    _Rule(PermissionDeniedError, 403, "permission_error", "permission_denied"),
    _Rule(RateLimitError, 429, "rate_limit_error", "rate_limit_exceeded"),
    _Rule(OverloadedError, 429, "rate_limit_error", "overloaded", 1),
    _Rule(DeadlineError, 504, "timeout_error", "deadline_exceeded"),
    _Rule(CancelledError, 499, "cancelled_error", "cancelled"),
    _Rule(FeedbackError, 503, "service_unavailable_error", "feedback_unavailable"),
    _Rule(StartingError, 503, "service_unavailable_error", "starting", 5),
    _Rule(ShutdownError, 503, "service_unavailable_error", "shutting_down", 5),
    _Rule(EngineError, 503, "service_unavailable_error", "engine_failed", 5),
    _Rule(ExpertError, 503, "service_unavailable_error", "expert_unavailable"),
)


class Failure(NamedTuple):
    """The response that takes an answer's place."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]


def failure_of(error: Exception, *, names_paths: bool = False) -> Failure:
    """Return the response for an error, and note it in the request's record; what nobody raised on purpose is a 500.

    With `names_paths` the message is whole: for operators.
    """
    failure = _of_http(error) if isinstance(error, HTTPException) else _of_table(error, names_paths)
    if record := current_record():
        record.note(failure.status, failure.body["error"]["code"], error)
    return failure


def without_paths(message: str) -> str:
    """Return a message with every path of the machine left out."""
    return _BARE_PATH.sub("(path)", _QUOTED_PATH.sub("(path)", message))


def _of_table(error: Exception, names_paths: bool) -> Failure:
    for rule in TABLE:
        if isinstance(error, rule.error):
            param = error.param if isinstance(error, RequestError) else None
            # a request's own error repeats what the client has sent
            is_whole = names_paths or isinstance(error, RequestError)
            message = str(error) if is_whole else without_paths(str(error))
            return Failure(rule.status, error_body(_cut(message), rule.kind, param, rule.code), _headers(rule, error))
    return Failure(500, error_body("internal error; the server's log has its cause", "server_error"), {})


def _headers(rule: _Rule, error: CoeError) -> dict[str, str]:
    if isinstance(error, AuthenticationError):
        return {"www-authenticate": "Bearer"}
    wait_s = error.retry_after_s or rule.retry_after_s
    return {} if wait_s is None else {"retry-after": str(max(1, math.ceil(wait_s)))}


def _of_http(error: HTTPException) -> Failure:
    """Return the response for what the routing of URLs refuses."""
    known = {
        404: ("there is nothing at this URL", "unknown_url"),
        405: ("this URL has other methods", "unknown_method"),
    }
    message, code = known.get(error.status_code, (str(error.detail), None))
    if (record := current_record()) and error.status_code in known:
        message = f"{message}: {record.method} {shown(record.path)}; /openapi.json has those there are"
    return Failure(
        error.status_code, error_body(message, "invalid_request_error", None, code), dict(error.headers or {})
    )


def _cut(message: str) -> str:
    """Return at most MAX_MESSAGE_CHARS, of which UTF-8 can write each: no error repeats a request of megabytes."""
    message = message.encode("utf-8", "replace").decode()
    return message if len(message) <= MAX_MESSAGE_CHARS else f"{message[: MAX_MESSAGE_CHARS - 3]}..."
