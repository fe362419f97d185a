"""Server-sent events (WHATWG HTML, "Server-sent events") of one generation.

Turns a runtime's events into `data:` lines, sends comments while nothing else is sent so that proxies keep the
connection, and an `error` event when something fails after the headers. Knows nothing about routes or requests.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from coe.types import GenerateEvent
from server.answers import Answer
from server.failures import failure_of

__all__ = ["sse"]

DONE = "data: [DONE]\n\n"
KEEP_ALIVE = ": keep-alive\n\n"


async def sse(
    answer: Answer,
    events: AsyncGenerator[GenerateEvent, None],
    *,
    includes_usage: bool,
    keep_alive_s: float,
) -> AsyncIterator[str]:
    """Yield the stream's text; `events` goes on after its Routed. Ends with [DONE] or an `error` event."""
    try:
        for first in answer.opening():
            yield _data(first)
        async for event in _or_nothing(events, keep_alive_s):
            if event is None:
                yield KEEP_ALIVE
                continue
            chunk = answer.chunk(event)
            answer.take(event)
            if chunk is not None:
                yield _data(chunk)
        if includes_usage:
            yield _data(answer.usage_chunk())
        yield DONE
    except Exception as error:  # HTTP edge: the headers are sent, so the client hears of it here
        yield f"event: error\n{_data(failure_of(error).body)}"
    finally:
        await events.aclose()


async def _or_nothing(events: AsyncIterator[GenerateEvent], patience_s: float) -> AsyncIterator[GenerateEvent | None]:
    """Pass events on, and None whenever none came for `patience_s`."""
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
    return await anext(events, None)  # a task cannot carry StopAsyncIteration


def _data(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
