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
    │   └── ContextLengthError
    ├── OverloadedError        a queue limit is reached: try again later
    ├── DeadlineError          no token came within the deadline
    ├── CancelledError         the client closed the connection or asked to stop
    ├── ShutdownError          the runtime is closing
    └── EngineError            the engine has failed: the process ends and has to be started again
"""

from __future__ import annotations

import traceback

__all__ = [
    "BreakerOpenError",
    "CancelledError",
    "CoeError",
    "ConfigError",
    "ContextLengthError",
    "DeadlineError",
    "EngineError",
    "ExpertError",
    "ExpertTooLargeError",
    "InvalidRequestError",
    "OverloadedError",
    "PinnedOutError",
    "RequestError",
    "ShutdownError",
    "SourceError",
    "UnknownExpertError",
    "WeightsError",
    "reason_of",
]


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


class ShutdownError(CoeError):
    """The runtime is closing and takes no more work."""


class EngineError(CoeError):
    """The engine has failed, by a fault that is no expert's and no request's; nothing more can be answered."""


def reason_of(error: BaseException) -> str:
    """Return the class and the message of any exception in one line, without the path that an OSError names."""
    if isinstance(error, OSError) and error.strerror:
        return f"{type(error).__name__}: {error.strerror}"
    return " ".join(traceback.format_exception_only(error)[-1].split())
