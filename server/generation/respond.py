"""One generation for one HTTP request: whole or streamed, cancelled when the client leaves.

Takes the runtime's events and has an Answer write them. Nothing is sent before an expert has taken the request, so that
a refusal has its status: the headers go with the first token, or after a comment's time without one. What fails later
is an event of the stream (stream.py). Knows nothing about what requests and answers look like.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from coe.errors import CancelledError
from coe.preparation import attempt_id
from coe.runtime import Runtime
from coe.statuses import WaitingStatus
from coe.types import Decision, GenerateEvent, GenerateRequest, Routed
from server.access.caller import caller_of
from server.access.metering import metered
from server.cache_control import CACHE_CONTROL, wanted
from server.decisions import decision_headers
from server.generation.answer import Answer
from server.generation.stream import sse
from server.generation.together import together
from server.request_log import current_record

__all__ = ["Generation", "respond", "unless_left"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Generation:
    """What an endpoint asks for: a request or several, and the answer that begins when the first decision is known."""

    requests: Sequence[GenerateRequest]  # all of as many choices
    answer_to: Callable[[Routed], Answer]
    streams: bool


async def respond(runtime: Runtime, request: Request, asked: Generation, keep_alive_s: float) -> Response:
    """Generate and return the response; raises CoeError for what fails before the headers.

    `keep_alive_s` is the time between comments in a stream that has nothing else to send.
    """
    commit_s = keep_alive_s if asked.streams else None
    max_age_s, is_kept = wanted(request.headers.get(CACHE_CONTROL))
    record = current_record()
    request_id = record.id if record else ""
    generations = [
        partial(
            runtime.generate,
            replace(each, max_age_s=max_age_s, is_kept=is_kept, request_id=request_id),
            commit_s=commit_s,
        )
        for each in asked.requests
    ]
    events = metered(together(generations, asked.requests[0].num_choices), caller_of(request))
    if not asked.streams:
        return await unless_left(request, _whole(asked, events))
    routed = await unless_left(request, _routed(events))
    text = sse(
        asked.answer_to(routed),
        routed,
        events,
        waiting=partial(_waiting, runtime, asked.requests[0].id, routed.decision),
        keep_alive_s=keep_alive_s,
    )
    headers = {**decision_headers(routed), "cache-control": "no-cache", "x-accel-buffering": "no"}
    return StreamingResponse(text, media_type="text/event-stream", headers=headers)


def _waiting(runtime: Runtime, request_id: str, decision: Decision) -> WaitingStatus:
    return runtime.engine.status.waiting(attempt_id(request_id, decision), decision.expert)


async def _whole(asked: Generation, events: AsyncGenerator[GenerateEvent, None]) -> Response:
    async with aclosing(events):
        routed = await _routed(events)
        answer = asked.answer_to(routed)
        async for event in events:
            answer.take(event)
    return JSONResponse(answer.whole(), headers=decision_headers(routed))


async def _routed(events: AsyncGenerator[GenerateEvent, None]) -> Routed:
    """Return the first event, which is the decision."""
    routed = await anext(events)
    assert isinstance(routed, Routed)
    return routed


async def unless_left(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns; cancels it and raises CancelledError when the client closes the connection."""
    working, leaving = asyncio.create_task(work), asyncio.create_task(_client_has_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise CancelledError("the client closed the connection")
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _client_has_left(request: Request) -> None:
    """Return when the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
