"""The event hub: whoever publishes hands an event over, whoever listens takes it from a queue of their own.

Owns the numbers of events, the ring of the last ones, and the listeners' queues. Any thread may publish. A listener
that is slow loses the oldest events of its queue and is told how many. Knows nothing about what events say.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from typing import NamedTuple

from coe.telemetry.events import Happening

__all__ = ["Event", "EventHub", "Listener", "Publish", "Taken", "unheard"]

RING_EVENTS = 4096  # some minutes of a busy server
QUEUE_EVENTS = 1024  # of one listener

Publish = Callable[[Happening], None]


def unheard(_: Happening) -> None:
    """Publish to nobody."""


class Event(NamedTuple):
    """What happened, with its number in this process and its unix time."""

    seq: int
    time_s: float
    what: Happening


class Taken(NamedTuple):
    """What a listener takes: events, and how many before them it has lost. `is_over`: none will follow."""

    events: tuple[Event, ...]
    num_lost: int
    is_over: bool


class Listener:
    """One listener's queue, on the event loop that it was made on. Made by `EventHub.listen`, closed by its owner."""

    def __init__(
        self, kinds: Collection[str] | None, lock: threading.Lock, on_close: Callable[[Listener], None]
    ) -> None:
        self._kinds, self._lock, self._on_close = kinds, lock, on_close
        self._queue: deque[Event] = deque(maxlen=QUEUE_EVENTS)
        self._num_lost = 0
        self._is_over = self._is_woken = False
        self._loop, self._wake = asyncio.get_running_loop(), asyncio.Event()

    async def take(self, patience_s: float) -> Taken:
        """Return what has come, at the latest after `patience_s`, then perhaps nothing."""
        try:
            async with asyncio.timeout(patience_s):
                await self._wake.wait()
        except TimeoutError:
            return Taken((), 0, False)
        return self.take_now()

    def take_now(self) -> Taken:
        """Return what has come so far."""
        with self._lock:
            taken = Taken(tuple(self._queue), self._num_lost, self._is_over)
            self._queue.clear()
            self._num_lost, self._is_woken = 0, False
            self._wake.clear()
        return taken

    def close(self) -> None:
        self._on_close(self)

    # -- the hub's, under its lock

    def put(self, event: Event) -> None:
        if self._kinds is not None and event.what.kind not in self._kinds:
            return
        self._num_lost += len(self._queue) == QUEUE_EVENTS
        self._queue.append(event)
        self._wake_up()

    def lose(self, num_events: int) -> None:
        self._num_lost += num_events
        self._wake_up()

    def end(self) -> None:
        self._is_over = True
        self._wake_up()

    def _wake_up(self) -> None:
        if not self._is_woken and not self._loop.is_closed():  # one call for all events until the next `take`
            self._is_woken = True
            self._loop.call_soon_threadsafe(self._wake.set)


class EventHub:
    """Publishers on any thread, listeners on event loops. `run` names this life of the server: numbers begin anew."""

    def __init__(self) -> None:
        self.run = f"{time.time_ns() // 1_000_000:x}"
        self._lock = threading.Lock()
        self._ring: deque[Event] = deque(maxlen=RING_EVENTS)
        self._listeners: list[Listener] = []
        self._seq = 0
        self._is_closed = False

    @property
    def seq(self) -> int:
        """The number of the last event."""
        return self._seq

    @property
    def is_heard(self) -> bool:
        return bool(self._listeners)

    def publish(self, what: Happening) -> None:
        """Number an event, keep it in the ring and hand it to every listener. Any thread."""
        with self._lock:
            self._seq += 1
            event = Event(self._seq, time.time(), what)
            self._ring.append(event)
            for listener in self._listeners:
                listener.put(event)

    def listen(self, kinds: Collection[str] | None = None, after: int | None = None) -> Listener:
        """Return a listener to events of these kinds (None: all) from now on, or from those after number `after`.

        What the ring does not hold any more counts as lost.
        """
        with self._lock:
            listener = Listener(kinds, self._lock, self._forget)
            if after is not None:
                missed = [event for event in self._ring if event.seq > after]
                if lost := max(0, self._seq - after - len(missed)):
                    listener.lose(lost)
                for event in missed:
                    listener.put(event)
            if self._is_closed:
                listener.end()
            self._listeners = [*self._listeners, listener]
        return listener

    def close(self) -> None:
        """Tell every listener that no event will follow; later ones are told at once."""
        with self._lock:
            self._is_closed = True
            for listener in self._listeners:
                listener.end()

    def _forget(self, listener: Listener) -> None:
        with self._lock:
            self._listeners = [each for each in self._listeners if each is not listener]
