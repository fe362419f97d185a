"""Every error that coe raises on purpose, in one tree.

A message says what is wrong, the value, and what to do. server/failures.py maps each class to an HTTP status in one
table, coe/client/errors.py maps back, and coe/cli turns classes into exit codes.

    CoeError
    ├── ConfigError            a configuration or a command that cannot be used (command line: exit code 2)
    ├── ExpertError            one expert cannot be used; the others go on
    │   ├── SourceError        its source is missing, unsupported or refused (pickle, remote code)
    │   ├── WeightsError       its stored bytes are missing, short or corrupt
    │   │   └── ExpertTooLargeError  no budget of this machine lets it run
    │   ├── PinnedOutError     pinned experts leave no room for it
    │   └── BreakerOpenError   it failed too often and is left alone for a while
    ├── RequestError           the request itself is wrong
    │   ├── UnknownExpertError
    │   ├── InvalidRequestError
    │   ├── ContextLengthError
    │   ├── TooLargeError      its body is larger than the server takes
    │   ├── SlowRequestError   its body did not arrive in time
    │   ├── ContentTypeError   its body is not said to be JSON
    │   └── UnknownRequestError  it names a request that is not known
    ├── AuthenticationError    the request has no API key, or an unknown one
    ├── PermissionDeniedError  the key, the page or the host that the request comes with may not do this
    ├── RateLimitError         the key has used up what it may use for now
    ├── OverloadedError        a queue limit is reached: try again later
    ├── DeadlineError          no token came within the deadline
    ├── CancelledError         the client closed the connection or asked to stop
    ├── FeedbackError          a word on a decision cannot be kept
    ├── StartingError          the server imports its experts and is not ready yet
    ├── ShutdownError          the runtime is closing
    ├── EngineError            the engine has failed: the process ends and has to be started again
    ├── UnreachableError       (client) there is no server, or the connection to it broke
    └── StreamError            (client) a stream is read twice, or asked for its answer before it has ended
"""

from __future__ import annotations

import difflib
import reprlib
import traceback
from collections.abc import Iterable

__all__ = [
    "MAX_SHOWN_CHARS",
    "AuthenticationError",
    "BreakerOpenError",
    "CancelledError",
    "CoeError",
    "ConfigError",
    "ContentTypeError",
    "ContextLengthError",
    "DeadlineError",
    "EngineError",
    "ExpertError",
    "ExpertTooLargeError",
    "FeedbackError",
    "InvalidRequestError",
    "OverloadedError",
    "PermissionDeniedError",
    "PinnedOutError",
    "RateLimitError",
    "RequestError",
    "ShutdownError",
    "SlowRequestError",
    "SourceError",
    "StartingError",
    "StreamError",
    "TooLargeError",
    "UnknownExpertError",
    "UnknownRequestError",
    "UnreachableError",
    "WeightsError",
    "nearest",
    "reason_of",
    "shown",
]

MAX_SHOWN_CHARS = 80


class CoeError(Exception):
    """The root of every error that coe raises on purpose.

    `expert` is set where the error is about that expert alone, so that another may still answer; `retry_after_s` where
    it is known when trying again may help.
    """

    expert: str | None = None
    retry_after_s: float | None = None


class ConfigError(CoeError):
    """A configuration or a command that cannot be used."""


class ExpertError(CoeError):
    """One expert (`expert`) cannot be used; the others go on."""

    expert: str

    def __init__(self, expert: str, message: str) -> None:
        super().__init__(f"expert '{expert}': {message}")
        self.expert = expert


class SourceError(ExpertError):
    """An expert's source is missing, unsupported or refused."""


class WeightsError(ExpertError):
    """An expert's stored bytes are missing, short or corrupt."""


class ExpertTooLargeError(WeightsError):
    """No budget of this machine lets the expert run; asking again does not help."""


class PinnedOutError(ExpertError):
    """Pinned experts (`pins`) leave no room for the expert, whatever else is evicted."""

    def __init__(self, expert: str, pins: tuple[str, ...]) -> None:
        super().__init__(expert, f"there is no room for it beside what is pinned: {', '.join(pins)}; unpin one of them")
        self.pins = pins


class BreakerOpenError(ExpertError):
    """The expert failed too often in a row and is left alone for `retry_after_s`."""

    def __init__(self, expert: str, message: str, retry_after_s: float) -> None:
        super().__init__(expert, message)
        self.retry_after_s = retry_after_s


class RequestError(CoeError):
    """The request itself is wrong; `param` is the name of the wrong field, None for the request as a whole."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class UnknownExpertError(RequestError):
    """The request names an expert that the catalogue does not have."""


class InvalidRequestError(RequestError):
    """A field of the request has a value that cannot be used."""


class ContextLengthError(RequestError):
    """The prompt does not fit into the expert's context."""


class TooLargeError(RequestError):
    """The body of the request is larger than the server takes."""


class SlowRequestError(RequestError):
    """The body of the request did not arrive in time."""


class UnknownRequestError(RequestError):
    """It names a request that is not known, or another's."""


class ContentTypeError(RequestError):
    """The request does not say that its body is JSON."""


class AuthenticationError(CoeError):
    """The request has no API key, or one that the server does not know."""


class PermissionDeniedError(CoeError):
    """The key, the page or the host that the request comes with may not do this."""


class RateLimitError(CoeError):
    """The key has used up what it may use for now."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class OverloadedError(CoeError):
    """A queue limit, that of `expert` or that of all together, is reached; the request was not accepted."""

    def __init__(self, message: str, *, expert: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.expert, self.retry_after_s = expert, retry_after_s


class DeadlineError(CoeError):
    """The request got no token within its deadline, or (`expert`) it could not get one from this expert in time."""

    def __init__(self, message: str, *, expert: str | None = None) -> None:
        super().__init__(message)
        self.expert = expert


class CancelledError(CoeError):
    """The request was cancelled before it ended."""


class FeedbackError(CoeError):
    """A word on a decision cannot be kept: the file is full or cannot be written."""


class StartingError(CoeError):
    """The server is not ready yet; the message says how far it is."""


class ShutdownError(CoeError):
    """The runtime is closing and takes no more work."""


class EngineError(CoeError):
    """The engine has failed, by a fault that is no expert's and no request's; nothing more can be answered."""


class UnreachableError(CoeError):
    """The client finds no server at its URL, or lost the connection to it."""


class StreamError(CoeError):
    """A stream is read a second time or after its end, or asked for its answer before it has ended."""


def nearest(word: str, known: Iterable[str], heading: str) -> str:
    """Return `did you mean '…'?` for a near miss, else `heading` and the list of known words."""
    names = sorted(set(known))
    lowered = {name.lower(): name for name in reversed(names)}
    matches = difflib.get_close_matches(word[:MAX_SHOWN_CHARS].lower(), lowered, n=1)
    return f"did you mean '{lowered[matches[0]]}'?" if matches else f"{heading}: {', '.join(names)}"


def reason_of(error: BaseException) -> str:
    """Return the class and the message of any exception in one line, without the path that an OSError names."""
    if isinstance(error, OSError) and error.strerror:
        return f"{type(error).__name__}: {error.strerror}"
    return " ".join(traceback.format_exception_only(error)[-1].split())


class _Short(reprlib.Repr):
    """repr() whose work is bounded: of a large or deep value only the beginning is looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxstring = self.maxother = self.maxlong = MAX_SHOWN_CHARS


_SHORT = _Short()


def shown(value: object) -> str:
    """Return a value that a client sent as messages show it: quoted, control characters escaped, at most 80 characters.

    Every message that repeats a client's value uses it.
    """
    text = repr(value[:MAX_SHOWN_CHARS]) if isinstance(value, str) else _SHORT.repr(value)
    is_whole = len(text) <= MAX_SHOWN_CHARS and not (isinstance(value, str) and len(value) > MAX_SHOWN_CHARS)
    return text if is_whole else f"{text[: MAX_SHOWN_CHARS - 3]}..."
