"""The gate: the ASGI layer that every request goes through, and through which every answer comes back.

Gives the request its id and its record, counts it, asks the door, counts what the key uses, tells browsers what the
door allows, and answers with a failure in the shape of the endpoint's dialect for whatever ends a request before its
headers. Nothing that an endpoint raises gets past it.
"""

from __future__ import annotations

import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coe.telemetry.spans import set_parent
from server.access.caller import SCOPE, Caller
from server.access.door import Asked, Door
from server.anthropic.errors import is_of_messages, shaped
from server.failures import failure_of
from server.request_log import RequestRecord, record_as_current
from server.telemetry.http_counts import HttpCounts

__all__ = ["Gate"]

LIMITED = "/v1/"
EXPOSED = (
    "x-request-id, retry-after, x-coe-expert, x-coe-category, x-coe-confidence, x-coe-why, x-coe-tier, "
    "x-coe-passed-over, x-coe-cache, "
    "x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "
    "x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens"
)
PREFLIGHT_S = "600"
LEFT = 499  # the status of a request whose client was gone before its answer
# no page may guess an answer's type, nor put ours into a frame and have it clicked
GUARDS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "content-security-policy": "frame-ancestors 'none'",
}


class Gate:
    """Middleware over the whole application."""

    def __init__(self, app: ASGIApp, door: Door, counts: HttpCounts | None = None) -> None:
        self._app, self._door = app, door
        self._counts = counts or HttpCounts()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        asked = Asked(scope["method"], scope["path"], _once(headers))
        record = RequestRecord.of(asked.method, asked.path, headers.get("x-request-id"))
        record_as_current(record)
        set_parent(asked.headers)
        answering, began_s = _Answering(record, self._cors(asked), send), time.monotonic()
        self._counts.began()
        try:
            await self._serve(asked, scope, receive, answering)
        except Exception as error:  # HTTP edge
            if answering.has_begun:
                failure_of(error)  # is noted; uvicorn ends the connection of an answer that has no end
            else:
                await answering.fail(error, scope, receive, asked)
        finally:
            self._counts.ended(asked.method, _route(scope), answering.status, time.monotonic() - began_s)
            record.write()

    async def _serve(self, asked: Asked, scope: Scope, receive: Receive, answering: _Answering) -> None:
        if asked.method == "OPTIONS" and "access-control-request-method" in asked.headers:
            self._door.check_preflight(asked)
            await _preflight(asked)(scope, receive, answering.send)
            return
        caller = self._door.admit(asked)
        scope[SCOPE] = caller
        answering.record.key = caller.owner
        if not (asked.changes_something and asked.path.startswith(LIMITED)) or caller.allowance is None:
            await self._app(scope, receive, answering.send)
            return
        answering.caller = caller
        caller.allowance.admit(time.monotonic())
        try:
            await self._app(scope, receive, answering.send)
        finally:
            caller.allowance.release()

    def _cors(self, asked: Asked) -> dict[str, str]:
        origin = asked.headers.get("origin")
        if origin is None or not self._door.origins.is_listed(origin):
            return {}
        return {"access-control-allow-origin": origin, "access-control-expose-headers": EXPOSED}


class _Answering:
    """The answer to one request: puts the headers on it that every answer has."""

    def __init__(self, record: RequestRecord, cors: dict[str, str], send: Send) -> None:
        self.record = record
        self.has_begun = False
        self.status = LEFT
        self.caller: Caller | None = None
        self._cors, self._send = cors, send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_begun, self.status = True, message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in self._every_answers().items():
                headers[name] = value
            for name, value in GUARDS.items():
                headers.setdefault(name, value)  # the page has a stricter policy of its own
            headers.add_vary_header("Origin")
        await self._send(message)

    async def fail(self, error: Exception, scope: Scope, receive: Receive, asked: Asked) -> None:
        failure = failure_of(error, names_paths=asked.is_admins and SCOPE in scope)
        failure = shaped(failure, asked.path, self.record.id)
        response = JSONResponse(failure.body, failure.status, headers=failure.headers)
        await response(scope, receive, self.send)

    def _every_answers(self) -> dict[str, str]:
        allowance = self.caller.allowance if self.caller else None
        limits = allowance.headers(time.monotonic()) if allowance else {}
        ids = {"x-request-id": self.record.id}
        if is_of_messages(self.record.path):
            ids["request-id"] = self.record.id  # Anthropic's name for it
        return {**ids, **self._cors, **limits}


def _route(scope: Scope) -> str | None:
    """Return the template of the URL that was asked for; None before the routing, or for one that there is not."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else None


def _preflight(asked: Asked) -> Response:
    headers = {
        "access-control-allow-methods": "GET, POST, DELETE, OPTIONS",
        "access-control-allow-headers": asked.headers.get("access-control-request-headers", "content-type"),
        "access-control-max-age": PREFLIGHT_S,
    }
    return Response(status_code=204, headers=headers)


def _once(headers: Headers) -> dict[str, str]:
    """Return headers by name; one that comes twice is joined, so that it equals nothing that is allowed."""
    joined: dict[str, str] = {}
    for name, value in headers.items():
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined
