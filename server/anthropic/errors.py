"""Failures in Anthropic's shape, for whoever asks at its endpoints.

The statuses are those of the one table in server/failures.py; a type of Anthropic's stands for each. Knows nothing
about what failed.
"""

from __future__ import annotations

from typing import Any

from server.failures import Failure

__all__ = ["error_object", "is_of_messages", "shaped"]

PATH = "/v1/messages"
TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def is_of_messages(path: str) -> bool:
    """Return whether a URL's path is one of Anthropic's."""
    return path == PATH or path.startswith(f"{PATH}/")


def shaped(failure: Failure, path: str, request_id: str) -> Failure:
    """Return a failure as clients of the path read it: in Anthropic's shape at its endpoints, else as it is."""
    return failure._replace(body=error_object(failure, request_id)) if is_of_messages(path) else failure


def error_object(failure: Failure, request_id: str) -> dict[str, Any]:
    """Return the body of a failure, which is the data of an `error` event, too."""
    kind = TYPES.get(failure.status, "invalid_request_error" if failure.status < 500 else "api_error")
    error = {"type": kind, "message": failure.body["error"]["message"]}
    return {"type": "error", "error": error, "request_id": request_id}
