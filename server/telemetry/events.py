"""GET /admin/events: what happens, as server-sent events (WHATWG HTML, "Server-sent events").

Owns the shape of the stream: `id:` is the process's run and the event's number, `event:` its kind, `data:` its
fields as JSON. Knows nothing about who publishes.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from coe.errors import InvalidRequestError, nearest, shown
from coe.runtime import Runtime
from coe.telemetry.events import KINDS
from coe.telemetry.feed import Feed
from coe.telemetry.hub import Event, Listener

__all__ = ["event_routes"]

LAST_EVENT_ID = "last-event-id"
KEEP_ALIVE = ": keep-alive\n\n"
RETRY = "retry: 1000\n\n"  # milliseconds until a browser that lost the server asks again


def event_routes(runtime: Runtime, keep_alive_s: float) -> APIRouter:
    """Return the endpoint; `keep_alive_s` is the time between comments where nothing happens."""
    routes = APIRouter(prefix="/admin")

    @routes.get("/events")
    async def events(request: Request, kinds: str | None = None) -> Response:
        wanted = _kinds(kinds)
        after = _number(request.headers.get(LAST_EVENT_ID, ""), runtime.feed.hub.run)
        text = _stream(runtime.feed, wanted, after, keep_alive_s)
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        return StreamingResponse(text, media_type="text/event-stream", headers=headers)

    return routes


async def _stream(
    feed: Feed, kinds: Collection[str] | None, after: int | None, keep_alive_s: float
) -> AsyncIterator[str]:
    """Yield what was missed, the snapshot, and then every event until the server ends or the client leaves."""
    with feed.watched(kinds, after) as listener:
        yield RETRY
        if after is not None:
            yield _missed(feed, listener)
        overview = feed.overview()
        yield _text("snapshot", asdict(overview), f"{feed.hub.run}-{overview.seq}")
        while True:
            taken = await listener.take(keep_alive_s)
            pieces = [_lost(taken.num_lost)] if taken.num_lost else []
            pieces += [_event(feed.hub.run, event) for event in taken.events]
            if taken.is_over:
                yield "".join([*pieces, _text("end", {})])
                return
            yield "".join(pieces) or KEEP_ALIVE


def _missed(feed: Feed, listener: Listener) -> str:
    taken = listener.take_now()
    lost = [_lost(taken.num_lost)] if taken.num_lost else []
    return "".join([*lost, *(_event(feed.hub.run, event) for event in taken.events)])


def _event(run: str, event: Event) -> str:
    data = {"seq": event.seq, "time": round(event.time_s, 6), **_known(asdict(event.what))}
    return _text(event.what.kind, data, f"{run}-{event.seq}")


def _lost(num_events: int) -> str:
    return _text("lost", {"lost": num_events})


def _text(kind: str, data: dict[str, Any], event_id: str | None = None) -> str:
    head = "" if event_id is None else f"id: {event_id}\n"
    return f"event: {kind}\n{head}data: {json.dumps(data, ensure_ascii=False, allow_nan=False)}\n\n"


def _known(data: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of which something is known."""
    return {name: value for name, value in data.items() if value is not None}


def _kinds(asked: str | None) -> frozenset[str] | None:
    """Return the kinds that the client wants, None for all; raises InvalidRequestError for one that there is not."""
    if asked is None:
        return None
    wanted = frozenset(word.strip() for word in asked.split(",")) - {""}
    for kind in sorted(wanted - set(KINDS)):
        text = f"there is no kind of event {shown(kind)}; {nearest(kind, KINDS, 'kinds')}"
        raise InvalidRequestError(text, param="kinds")
    return wanted or None


def _number(last_id: str, run: str) -> int | None:
    """Return the number of the last event that a client has; None for one of another life of the server, or none."""
    of_run, _, number = last_id.partition("-")
    return int(number) if of_run == run and number.isascii() and number.isdigit() else None
