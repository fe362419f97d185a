"""What other threads send to the engine thread: frozen events in one inbox, and futures that only the engine ends."""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from coe.engine.sequence import Sequence
from coe.errors import ExpertError
from coe.weights.transfer import Arrived

__all__ = ["Call", "Cancel", "Event", "Fault", "Hint", "Inbox", "Shutdown", "Submit", "answer", "chain", "new_future"]


@dataclass(frozen=True, slots=True)
class Submit:
    """Take in all choices of one request, or none: the first one's sink gets Admitted, or the error."""

    sequences: tuple[Sequence, ...]


@dataclass(frozen=True, slots=True)
class Hint:
    """A prompt was routed to this expert: its weights may start moving while the prompt is tokenised."""

    expert: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """The client of this sequence went away."""

    sequence_id: str


@dataclass(frozen=True, slots=True)
class Fault:
    """An expert failed before its request came to the engine: its template, for one."""

    expert: str
    error: ExpertError


@dataclass(frozen=True, slots=True)
class Call:
    """Run `work` on the engine thread and answer through `future`: an operator's commands and questions."""

    work: Callable[[], Any]
    future: Future[Any]


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Fail what is left and end the thread."""


Event = Submit | Hint | Cancel | Fault | Call | Shutdown | Arrived


class Inbox:
    """The engine's queue of events. Any thread puts; the engine thread takes."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def put(self, event: Event) -> None:
        self._events.put(event)

    def take(self, timeout_s: float | None) -> list[Event]:
        """Return all events that are there; waits for the first one up to `timeout_s` (None: without limit)."""
        events: list[Event] = []
        try:
            events.append(self._events.get(block=timeout_s != 0.0, timeout=timeout_s or None))
            while True:
                events.append(self._events.get_nowait())
        except queue.Empty:
            return events


def new_future() -> Future[Any]:
    """Return a future that only the engine ends: a caller that stops waiting must not turn its answer into an error."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    return future


def answer(future: Future[Any], work: Callable[[], Any]) -> None:
    """End the future with what `work` returns or raises."""
    try:
        result = work()
    except Exception as error:  # thread edge: the caller gets it
        future.set_exception(error)
    else:
        future.set_result(result)


def chain(source: Future[Any], target: Future[Any], *, only_errors: bool = False) -> None:
    """End `target` as `source` ends, or only where `source` fails."""

    def pass_on(done: Future[Any]) -> None:
        error = done.exception()
        if error is not None and not target.done():
            target.set_exception(error)
        elif error is None and not only_errors:
            target.set_result(done.result())

    source.add_done_callback(pass_on)
