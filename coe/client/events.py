"""What a server does, as it does it: GET /admin/events, read until the caller ends it.

A connection that breaks is made again, after the last event that came (Last-Event-ID); EventReader has what both
clients keep for that. Knows nothing about what the events mean.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from typing import Any

import httpx

from coe.client.closing import Closes, ClosesAwaited
from coe.client.errors import connection_errors, raise_for
from coe.client.once import Once
from coe.client.retries import Retries
from coe.client.sse import SseReader

__all__ = ["EVENTS", "AsyncEvents", "Event", "EventReader", "Events"]

EVENTS = "/admin/events"
RECONNECTS = Retries(max_retries=12)  # in a row, more than a minute; a connection that is made starts the count anew
Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `seq` numbers them in order, `time_s` is Unix time; `data` is all that the server says of it."""

    kind: str
    seq: int | None
    time_s: float | None
    data: Mapping[str, Any]


class Events(Closes):
    """Events by iteration, without end: leave the loop, or the `with` block, to end the connection.

    Raises UnreachableError where there is no server, for more than a minute where there was one; StreamError when it is
    read a second time.
    """

    def __init__(
        self, connect: Callable[[Headers], AbstractContextManager[httpx.Response]], reconnects: Retries = RECONNECTS
    ) -> None:
        self._connect, self._once, self._reader = connect, Once("watch"), EventReader(reconnects)
        self._events = self._read()

    def __iter__(self) -> Iterator[Event]:
        self._once.begin()
        return self._events

    def close(self) -> None:
        self._once.close()
        self._events.close()

    def _read(self) -> Generator[Event, None, None]:
        with connection_errors():
            while True:
                try:
                    with self._connect(self._reader.headers()) as response:
                        if response.is_error:
                            response.read()
                            raise_for(response)
                        for line in response.iter_lines():
                            if event := self._reader.feed(line):
                                yield event
                    wait_s = self._reader.after_end()
                except httpx.TransportError as error:
                    wait_s = self._reader.after_error(error)
                time.sleep(wait_s)


class AsyncEvents(ClosesAwaited):
    """`Events`, awaited."""

    def __init__(
        self,
        connect: Callable[[Headers], AbstractAsyncContextManager[httpx.Response]],
        reconnects: Retries = RECONNECTS,
    ) -> None:
        self._connect, self._once, self._reader = connect, Once("watch"), EventReader(reconnects)
        self._events = self._read()

    def __aiter__(self) -> AsyncIterator[Event]:
        self._once.begin()
        return self._events

    async def close(self) -> None:
        self._once.close()
        await self._events.aclose()

    async def _read(self) -> AsyncGenerator[Event, None]:
        with connection_errors():
            while True:
                try:
                    async with self._connect(self._reader.headers()) as response:
                        if response.is_error:
                            await response.aread()
                            raise_for(response)
                        async for line in response.aiter_lines():
                            if event := self._reader.feed(line):
                                yield event
                    wait_s = self._reader.after_end()
                except httpx.TransportError as error:
                    wait_s = self._reader.after_error(error)
                await asyncio.sleep(wait_s)


class EventReader:
    """The lines of all connections so far, and how patient to be with the next."""

    def __init__(self, reconnects: Retries) -> None:
        self._sse, self._reconnects = SseReader(), reconnects
        self._was_connected, self._num_failed = False, 0

    def headers(self) -> dict[str, str]:
        """Return the header that asks for what came after the last event, where there was one."""
        return {"last-event-id": self._sse.last_id} if self._sse.last_id else {}

    def feed(self, line: str) -> Event | None:
        """Take one line; returns the event that it completes, if it does."""
        self._was_connected, self._num_failed = True, 0
        event = self._sse.feed(line)
        if event is None:
            return None
        data = json.loads(event.data)
        return Event(event.kind, data.get("seq"), data.get("time"), data)

    def after_end(self) -> float:
        """Return the seconds to wait before a stream that the server has ended is asked for again."""
        self._sse.restart()
        self._was_connected = True
        return self._wait_s() or 0.0

    def after_error(self, error: httpx.TransportError) -> float:
        """Return the seconds to wait before the next connection; raises the error where there is to be none."""
        self._sse.restart()
        wait_s = self._wait_s() if self._was_connected else None
        if wait_s is None:
            raise error
        return wait_s

    def _wait_s(self) -> float | None:
        self._num_failed += 1
        return self._reconnects.wait_s(self._num_failed)
