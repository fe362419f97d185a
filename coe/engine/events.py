"""What other threads send to the engine thread: frozen events in one inbox, and futures that only the engine ends."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from coe.engine.live_sequences import LiveSequence
from coe.errors import CoeError, ExpertError
from coe.weights.transfer import Arrived

__all__ = ["Call", "Cancel", "Event", "Fault", "Hint", "Inbox", "Shutdown", "Submit", "answer", "chain", "new_future"]


@dataclass(frozen=True, slots=True)
class Submit:
    """Take in all choices of one request, or none: the first one's sink gets Admitted, or the error.

    `keep_alive_s` is the expert's from then on: the idle seconds after which it is unloaded, inf for never, None to
    leave it as it is.
    """

    sequences: tuple[LiveSequence, ...]
    keep_alive_s: float | None = None


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
    """The engine's queue of events. Any thread puts; the engine thread takes one after the other.

    The event that was taken last is in hand until the next one is asked for, so that none is lost with a reader that
    fails.
    """

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._in_hand: Event | None = None

    def put(self, event: Event) -> None:
        self._events.put(event)

    def take(self, timeout_s: float | None) -> Iterator[Event]:
        """Yield the events that are there; waits for the first one up to `timeout_s` (None: without limit)."""
        self._in_hand = self._next(block=timeout_s != 0.0, timeout_s=timeout_s or None)
        num_more = self._events.qsize()
        while self._in_hand is not None:
            yield self._in_hand
            self._in_hand = self._next() if num_more > 0 else None
            num_more -= 1

    def put_back(self) -> None:
        """Put the event in hand back: it has not been handled, or not to its end."""
        if self._in_hand is not None:
            self._events.put(self._in_hand)
            self._in_hand = None

    def drain(self) -> Iterator[Event]:
        """Yield what no reader will take any more; any number of threads may."""
        while (event := self._next()) is not None:
            yield event

    def _next(self, *, block: bool = False, timeout_s: float | None = None) -> Event | None:
        try:
            return self._events.get(block, timeout_s)
        except queue.Empty:
            return None


def new_future() -> Future[Any]:
    """Return a future that only the engine ends: a caller that stops waiting must not turn its answer into an error."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    return future


def answer(future: Future[Any], work: Callable[[], Any]) -> None:
    """End the future with what `work` returns, or with the CoeError it raises; any other exception is the engine's."""
    try:
        result = work()
    except CoeError as error:
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
