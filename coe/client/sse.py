"""Server-sent events: lines → events. Source: WHATWG HTML, "Server-sent events", 9.2.6.

Knows nothing about connections, nor about what the events mean.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ServerEvent", "SseReader"]


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event: its kind ("message" where the server names none), its text, and the last id so far."""

    kind: str
    data: str
    id: str = ""


class SseReader:
    """The lines so far. `last_id` is the last whole event's: a new connection asks for what came after it."""

    def __init__(self) -> None:
        self.last_id = ""
        self._id = self._kind = ""
        self._data: list[str] = []

    def feed(self, line: str) -> ServerEvent | None:
        """Take one line, without its end; returns the event that it completes, if it does."""
        if not line:
            return self._dispatched()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._kind = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = value
        return None

    def restart(self) -> None:
        """Forget the event that a broken connection has left unfinished."""
        self._id, self._kind, self._data = self.last_id, "", []

    def _dispatched(self) -> ServerEvent | None:
        kind, data = self._kind or "message", self._data
        self.last_id = self._id
        self.restart()
        return ServerEvent(kind, "\n".join(data), self.last_id) if data else None
