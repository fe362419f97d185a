"""Server-sent events of one generation (WHATWG HTML, "Server-sent events").

Sends an answer's chunks as `data:` lines, comments while there is nothing to send, so that proxies keep the connection,
and an `error` event for what fails after the headers; [DONE] ends every stream. Knows nothing about endpoints or
requests.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from coe.types import GenerateEvent, Routed
from server.failures import failure_of
from server.openai.answers import Answer

__all__ = ["sse"]

DONE = "data: [DONE]\n\n"
KEEP_ALIVE = ": keep-alive\n\n"


async def sse(
    answer: Answer,
    routed: Routed,
    events: AsyncGenerator[GenerateEvent, None],
    *,
    includes_usage: bool,
    keep_alive_s: float,
) -> AsyncIterator[str]:
    """Yield the stream's text, which ends with [DONE], after an `error` event where something failed.

    `events` are those after `routed`; they are closed in any case. `keep_alive_s` is the time between comments.
    """
    try:
        for first in answer.opening(routed):
            yield _data(first)
        async for event in _or_nothing(events, keep_alive_s):
            if event is None:
                yield KEEP_ALIVE
                continue
            if isinstance(event, Routed):  # of the next prompt of a list
                for first in answer.opening(event):
                    yield _data(first)
            chunk = answer.chunk(event)
            answer.take(event)
            if chunk is not None:
                yield _data(chunk)
        if includes_usage:
            yield _data(answer.usage_chunk())
    except Exception as error:  # HTTP edge: the headers are sent, so the error becomes an event
        yield f"event: error\n{_data(failure_of(error).body)}"
    finally:
        await events.aclose()
    yield DONE


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


def _data(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
