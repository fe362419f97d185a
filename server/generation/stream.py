"""Server-sent events of one generation (WHATWG HTML, "Server-sent events").

Sends what an answer writes as `data:` lines; comments while there is nothing to send, so that proxies keep the
connection and people see what they wait for; what fails after the headers as the answer says it. Knows nothing about
endpoints, requests or dialects.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

from coe.statuses import WaitingStatus
from coe.types import GenerateEvent, Routed
from server.failures import failure_of
from server.generation.answer import Answer

__all__ = ["MOST_UNSENT", "sse"]

MOST_UNSENT = 64  # events that wait for the client to read those before them
KEEP_ALIVE = ": keep-alive\n\n"
_json = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps makes an encoder each time


async def sse(
    answer: Answer,
    routed: Routed,
    events: AsyncGenerator[GenerateEvent, None],
    *,
    waiting: Callable[[], WaitingStatus] | None = None,
    keep_alive_s: float,
) -> AsyncGenerator[str, None]:
    """Yield the stream's text, which ends as the answer's streams do, after what it says where something failed.

    `events` are those after `routed`; they are closed in any case. `keep_alive_s` is the time between comments.
    Before the first event after `routed` a comment says what is waited for, if `waiting` is there to be asked.
    """
    is_named = answer.names_events
    try:
        yield _written(answer.opening(routed), is_named)
        async with aclosing(_batches(events, keep_alive_s)) as batches:
            async for batch in batches:
                if not batch:
                    yield KEEP_ALIVE if waiting is None else f": waiting {_json(asdict(waiting()))}\n\n"
                    continue
                waiting = None
                if text := "".join(_written(answer.chunks(event), is_named) for event in batch):
                    yield text
        if text := _written(answer.closing(), is_named):
            yield text
    except Exception as error:  # HTTP edge: the headers are sent, so the error becomes an event
        failing = answer.failing(failure_of(error))
        yield _written(failing, is_named) if is_named else "".join(f"event: error\n{_data(each)}" for each in failing)
    finally:
        await events.aclose()
    if answer.last_line:
        yield answer.last_line


async def _batches(
    events: AsyncGenerator[GenerateEvent, None], patience_s: float
) -> AsyncGenerator[list[GenerateEvent], None]:
    """Yield the events, all that have come together; an empty list whenever `patience_s` went by without one.

    One task reads them all: a task for each would cost more than all else that is done for a token. It stops while
    MOST_UNSENT wait, so that a client that reads nothing is noticed where it always is, in the runtime.
    """
    arrived: asyncio.Queue[GenerateEvent | None] = asyncio.Queue()  # None: there are no more
    room = asyncio.Semaphore(MOST_UNSENT)

    async def read() -> None:
        async for event in events:
            await room.acquire()
            arrived.put_nowait(event)

    reading = asyncio.create_task(read())
    reading.add_done_callback(lambda _: arrived.put_nowait(None))
    try:
        while True:
            try:
                async with asyncio.timeout(patience_s):
                    batch = [await arrived.get()]
            except TimeoutError:
                yield []
                continue
            while not arrived.empty():
                batch.append(arrived.get_nowait())
            there = [event for event in batch if event is not None]
            if there:
                yield there
            if len(there) < len(batch):
                await reading  # raises what ended the events
                return
            for _ in there:
                room.release()
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


def _written(chunks: Iterable[dict[str, Any]], is_named: bool) -> str:
    """Return events of a stream as text; with `is_named` their names are their types."""
    if is_named:
        return "".join(f"event: {chunk['type']}\n{_data(chunk)}" for chunk in chunks)
    return "".join(_data(chunk) for chunk in chunks)


def _data(value: dict[str, Any]) -> str:
    return f"data: {_json(value)}\n\n"
