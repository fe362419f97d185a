"""The HTTP face of a runtime: routes, bodies, headers. OpenAI's endpoints, health, metrics and the page.

Each handler reads a request, asks the runtime and writes an answer; shapes are in openai.py, errors in failures.py,
event streams in stream.py. A closed connection cancels what it had asked for.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse

from coe.config.schema import COMPOSITION
from coe.errors import CancelledError, CoeError, InvalidRequestError, UnknownExpertError
from coe.runtime import Runtime
from coe.types import GenerateEvent, Routed
from server.admin import admin_routes
from server.answers import Answer, ChatAnswer, CompletionAnswer
from server.failures import failure_of
from server.openai import ChatRequest, CompletionRequest, RouteRequest, decision_object, model_object, read
from server.prometheus import exposition
from server.stream import sse

__all__ = ["create_app"]

CONVERSATION = "x-coe-conversation"
PAGE = Path(__file__).parent / "page" / "index.html"


def create_app(
    runtime: Runtime, *, drain_s: float = 30.0, max_body_bytes: int = 8 << 20, keep_alive_s: float = 5.0
) -> FastAPI:
    """Return the application; its lifespan starts and closes the runtime. `keep_alive_s` is between SSE comments."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        starting = asyncio.create_task(runtime.start())  # /health and /ready answer meanwhile
        try:
            yield
        finally:
            await asyncio.gather(starting, return_exceptions=True)
            await runtime.close(drain_s)

    app = FastAPI(title="coe", lifespan=lifespan)
    app.add_exception_handler(CoeError, _on_error)
    app.add_exception_handler(Exception, _on_error)
    app.include_router(admin_routes(runtime))
    _add_openai(app, runtime, _Reader(max_body_bytes), keep_alive_s)
    _add_health(app, runtime)
    return app


class _Reader:
    """Request bodies as JSON, whatever their content type: `curl -d` names none that fits."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes

    async def __call__(self, request: Request) -> Any:
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > self._max_bytes:
                raise InvalidRequestError(
                    f"the body is larger than {self._max_bytes:,} bytes ([server] max_body_bytes); send less"
                )
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise InvalidRequestError(f"the body is not JSON: {error}") from error


def _add_openai(app: FastAPI, runtime: Runtime, body_of: _Reader, keep_alive_s: float) -> None:
    started = int(time.time())

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        asked = read(ChatRequest, await body_of(request))
        return await _answer(runtime, request, asked, keep_alive_s)

    @app.post("/v1/completions")
    async def complete(request: Request) -> Response:
        asked = read(CompletionRequest, await body_of(request))
        return await _answer(runtime, request, asked, keep_alive_s)

    @app.post("/v1/route")
    async def route(request: Request) -> dict[str, Any]:
        asked = read(RouteRequest, await body_of(request))
        return decision_object(await runtime.route(asked.query(_conversation(request))))

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        names = [COMPOSITION, *(status.name for status in runtime.operator.experts() if status.size_bytes)]
        return {"object": "list", "data": [model_object(name, started) for name in names]}

    @app.get("/v1/models/{name}")
    async def model(name: str) -> dict[str, Any]:
        known = {COMPOSITION, *(status.name for status in runtime.operator.experts())}
        if name not in known:
            raise UnknownExpertError(f"there is no model '{name}'; there are {', '.join(sorted(known))}", param="model")
        return model_object(name, started)


def _add_health(app: FastAPI, runtime: Runtime) -> None:
    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/ready")
    async def ready() -> Response:
        body = {"ready": runtime.is_ready, "status": runtime.readiness()}
        return JSONResponse(body, 200 if runtime.is_ready else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(exposition(runtime.metrics), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(PAGE)


async def _answer(
    runtime: Runtime, request: Request, asked: ChatRequest | CompletionRequest, keep_alive_s: float
) -> Response:
    """Generate, streamed or not. The headers go out as soon as the decision is there."""
    request_id = uuid.uuid4().hex
    events = runtime.generate(asked.generate_request(request_id, _conversation(request)))
    if not asked.stream:
        return await _whole_answer(request, request_id, asked, events)
    routed = await _first(events)
    answer = _begun(request_id, asked, routed)
    text = sse(answer, events, includes_usage=asked.includes_usage, keep_alive_s=keep_alive_s)
    headers = {**_headers(request_id, routed), "cache-control": "no-cache", "x-accel-buffering": "no"}
    return StreamingResponse(text, media_type="text/event-stream", headers=headers)


def _begun(request_id: str, asked: ChatRequest | CompletionRequest, routed: Routed) -> Answer:
    if isinstance(asked, ChatRequest):
        return ChatAnswer(request_id, asked, routed)
    return CompletionAnswer(request_id, asked, routed)


async def _whole_answer(
    request: Request,
    request_id: str,
    asked: ChatRequest | CompletionRequest,
    events: AsyncGenerator[GenerateEvent, None],
) -> Response:
    async def collect() -> tuple[Routed, Answer]:
        async with aclosing(events):
            routed = await _first(events)
            answer = _begun(request_id, asked, routed)
            async for event in events:
                answer.take(event)
        return routed, answer

    answering = asyncio.create_task(collect())
    leaving = asyncio.create_task(_left(request))
    await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
    leaving.cancel()
    if not answering.done():
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
        raise CancelledError("the client closed the connection")
    routed, answer = answering.result()
    return JSONResponse(answer.whole(), headers=_headers(request_id, routed))


def _conversation(request: Request) -> str | None:
    """The client's own name for the conversation; an empty header names none."""
    return request.headers.get(CONVERSATION) or None


async def _left(request: Request) -> None:
    """Return when the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _first(events: AsyncGenerator[GenerateEvent, None]) -> Routed:
    routed = await anext(events)
    assert isinstance(routed, Routed)
    return routed


def _headers(request_id: str, routed: Routed) -> dict[str, str]:
    """The decision, safe for headers: names are percent-encoded where they are not plain ASCII."""
    decision = routed.decision
    named = {
        "x-request-id": request_id,
        "x-coe-expert": decision.expert,
        "x-coe-category": decision.category or "",
        "x-coe-confidence": "" if decision.confidence is None else f"{decision.confidence:.4f}",
        "x-coe-why": decision.why,
        "x-coe-tier": str(routed.tier),
    }
    return {name: quote(value, safe=" !#$&'()*+,/:;=?@[]~") for name, value in named.items()}


async def _on_error(_: Request, error: Exception) -> Response:
    failure = failure_of(error)
    return JSONResponse(failure.body, failure.status, headers=failure.headers)
