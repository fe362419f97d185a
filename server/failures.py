"""One table from coe's errors to HTTP: status, OpenAI's type and code, and when to try again.

Every exception of an endpoint ends here: before the headers as a response, after them as an SSE event. The client's
side of the table is coe/client/errors.py.
"""

from __future__ import annotations

import logging
import math
from typing import Any, NamedTuple

from coe.errors import (
    CancelledError,
    CoeError,
    ContextLengthError,
    DeadlineError,
    EngineError,
    ExpertError,
    ExpertTooLargeError,
    OverloadedError,
    RequestError,
    ShutdownError,
    UnknownExpertError,
)
from server.openai.objects import error_body

__all__ = ["Failure", "failure_of"]

log = logging.getLogger("coe.server")


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
    _Rule(RequestError, 400, "invalid_request_error"),
    _Rule(ExpertTooLargeError, 400, "invalid_request_error", "expert_too_large"),
    _Rule(OverloadedError, 429, "rate_limit_error", "overloaded", 1),
    _Rule(DeadlineError, 504, "timeout_error", "deadline_exceeded"),
    _Rule(CancelledError, 499, "cancelled_error", "cancelled"),
    _Rule(ShutdownError, 503, "service_unavailable_error", "shutting_down", 5),
    _Rule(EngineError, 503, "service_unavailable_error", "engine_failed", 5),
    _Rule(ExpertError, 503, "service_unavailable_error", "expert_unavailable"),
)


class Failure(NamedTuple):
    """The response that takes an answer's place."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]


def failure_of(error: Exception) -> Failure:
    """Return the response for an error; one that coe did not raise on purpose is logged and becomes a 500."""
    for rule in TABLE:
        if isinstance(error, rule.error):
            wait_s = error.retry_after_s or rule.retry_after_s
            headers = {} if wait_s is None else {"retry-after": str(max(1, math.ceil(wait_s)))}
            param = error.param if isinstance(error, RequestError) else None
            return Failure(rule.status, error_body(str(error), rule.kind, param, rule.code), headers)
    log.error("a request failed unexpectedly", exc_info=error)
    return Failure(500, error_body(f"internal error: {error!r}; the log has the trace", "server_error"), {})
