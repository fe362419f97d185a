"""Every error that coe raises on purpose, in one tree.

A message says what is wrong, the value, and what to do. server/failures.py maps each class to an HTTP status in one
table, coe/client/errors.py maps back, and coe/cli turns classes into exit codes.

    CoeError
    ├── ConfigError            a configuration or a command that cannot be used (command line: exit code 2)
    ├── ExpertError            one expert cannot be used; the others go on
    │   ├── SourceError        its source is missing, unsupported or refused (pickle, remote code)
    │   └── WeightsError       its stored bytes are missing, short or corrupt
    ├── RequestError           the request itself is wrong
    │   ├── UnknownExpertError
    │   ├── InvalidRequestError
    │   └── ContextLengthError
    ├── OverloadedError        a queue limit is reached: try again later
    ├── DeadlineError          no token came within the deadline
    ├── CancelledError         the client closed the connection or asked to stop
    ├── StartingError          the server imports its experts and is not ready yet
    └── ShutdownError          the runtime is closing
"""

from __future__ import annotations

__all__ = [
    "CancelledError",
    "CoeError",
    "ConfigError",
    "ContextLengthError",
    "DeadlineError",
    "ExpertError",
    "InvalidRequestError",
    "OverloadedError",
    "RequestError",
    "ShutdownError",
    "SourceError",
    "StartingError",
    "UnknownExpertError",
    "WeightsError",
]


class CoeError(Exception):
    """The root of every error that coe raises on purpose."""


class ConfigError(CoeError):
    """A configuration or a command that cannot be used."""


class ExpertError(CoeError):
    """One expert (`expert`) cannot be used; the others go on."""

    def __init__(self, expert: str, message: str) -> None:
        super().__init__(f"expert '{expert}': {message}")
        self.expert = expert


class SourceError(ExpertError):
    """An expert's source is missing, unsupported or refused."""


class WeightsError(ExpertError):
    """An expert's stored bytes are missing, short or corrupt."""


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
    """A queue limit is reached; the request was not accepted."""


class DeadlineError(CoeError):
    """The request got no token within its deadline."""


class CancelledError(CoeError):
    """The request was cancelled before it ended."""


class StartingError(CoeError):
    """The server is not ready yet; the message says how far it is."""


class ShutdownError(CoeError):
    """The runtime is closing and takes no more work."""
