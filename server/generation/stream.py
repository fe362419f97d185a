"""Server-sent events of one generation (WHATWG HTML, "Server-sent events").

Sends what an answer writes as `data:` lines; comments while there is nothing to send, so that proxies keep the
connection and people see what they wait for; what fails after the headers as the answer says it. Knows nothing about
endpoints, requests or dialects.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from dataclasses import asdict
from typing import Any

from coe.statuses import WaitingStatus
from coe.types import GenerateEvent, Routed
from server.failures import failure_of
from server.generation.answer import Answer

__all__ = ["sse"]

KEEP_ALIVE = ": keep-alive\n\n"
_json = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps makes an encoder each time


async def sse(
    answer: Answer,
    routed: Routed,
    events: AsyncGenerator[GenerateEvent, None],
    *,
    waiting: Callable[[], WaitingStatus] | None = None,
    keep_alive_s: float,
) -> AsyncIterator[str]:
    """Yield the stream's text, which ends as the answer's streams do, after what it says where something failed.

    `events` are those after `routed`; they are closed in any case. `keep_alive_s` is the time between comments.
    Before the first event after `routed` a comment says what is waited for, if `waiting` is there to be asked.
    """
    is_named = answer.names_events
    try:
        yield _written(answer.opening(routed), is_named)
        async for event in _or_nothing(events, keep_alive_s):
            if event is None:
                yield KEEP_ALIVE if waiting is None else f": waiting {_json(asdict(waiting()))}\n\n"
                continue
            waiting = None
            if text := _written(answer.chunks(event), is_named):
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


async def _or_nothing(events: AsyncIterator[GenerateEvent], patience_s: float) -> AsyncIterator[GenerateEvent | None]:
    """Yield the events, and None whenever `patience_s` went by without one."""
    pending: asyncio.Task[GenerateEvent | None] | None = None
    try:
        while True:
            pending = pending or asyncio.ensure_future(_next(events))
            await asyncio.wait({pending}, timeout=patience_s)
            if not pending.done():
                yield None
                continue
            done, pending = pending, None
            event = done.result()
            if event is None:
                return
            yield event
    finally:
        if pending is not None:
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)


async def _next(events: AsyncIterator[GenerateEvent]) -> GenerateEvent | None:
    return await anext(events, None)  # a task's result cannot be StopAsyncIteration


def _written(chunks: Iterable[dict[str, Any]], is_named: bool) -> str:
    """Return events of a stream as text; with `is_named` their names are their types."""
    if is_named:
        return "".join(f"event: {chunk['type']}\n{_data(chunk)}" for chunk in chunks)
    return "".join(_data(chunk) for chunk in chunks)


def _data(value: dict[str, Any]) -> str:
    return f"data: {_json(value)}\n\n"
