"""The HTTP application over a runtime: its life, and the endpoints of every concern together.

Owns start and close of the runtime. Who may ask, and where exceptions end, is access/'s; the endpoints themselves are
in openai/, anthropic/, responses/, routing.py, admin.py, health.py and page/.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from coe.config.schema import AccessConfig
from coe.runtime import Runtime
from server.access.door import Door, build_door
from server.access.gate import Gate
from server.admin import admin_routes
from server.anthropic.errors import shaped
from server.anthropic.routes import anthropic_routes
from server.bodies import BodyReader
from server.failures import failure_of
from server.health import health_routes
from server.openai.embeddings import embedding_routes
from server.openai.routes import openai_routes
from server.openai.tokens import token_routes
from server.openapi.document import document
from server.page.routes import page_routes
from server.process.ending import CLOSE_S
from server.request_log import current_record
from server.rerank import rerank_routes
from server.responses.routes import response_routes
from server.responses.store import ResponseStore
from server.routing import routing_routes
from server.telemetry.decisions import decision_routes
from server.telemetry.events import event_routes
from server.telemetry.feedback import feedback_routes
from server.telemetry.http_counts import HttpCounts

__all__ = ["create_app"]


def create_app(
    runtime: Runtime,
    door: Door | None = None,
    *,
    max_body_bytes: int = 8 << 20,
    body_timeout_s: float = 60.0,
    keep_alive_s: float = 1.0,
    responses_bytes: int = 64 << 20,
    end: Callable[[], None] | None = None,
    category_experts: Mapping[str, str] | None = None,
) -> FastAPI:
    """Return the application; its lifespan starts the runtime and closes it, which ends what still runs.

    `door` says who may ask; by default this machine's own people, without keys. `keep_alive_s` is the time between
    comments in a stream that has nothing else to send, `responses_bytes` the room for responses that are kept. `end`
    asks for the end of the process, `category_experts` is which expert answers each category.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        starting = asyncio.create_task(runtime.start())  # /health and /ready answer while experts are loaded
        try:
            yield
        finally:
            starting.cancel()  # the end does not wait for weights
            await asyncio.gather(starting, return_exceptions=True)
            await runtime.close(timeout_s=CLOSE_S)

    app = FastAPI(title="coe", lifespan=lifespan, redirect_slashes=False, docs_url=None, redoc_url=None)
    app.openapi = document  # type: ignore[method-assign]
    counts = HttpCounts()
    app.add_middleware(Gate, door=door or build_door(AccessConfig(), "127.0.0.1", {}), counts=counts)
    app.add_exception_handler(HTTPException, _on_unknown_url)
    read_body = BodyReader(max_body_bytes, body_timeout_s)
    app.include_router(openai_routes(runtime, read_body, keep_alive_s))
    app.include_router(anthropic_routes(runtime, read_body, keep_alive_s))
    app.include_router(response_routes(runtime, read_body, keep_alive_s, ResponseStore(responses_bytes)))
    app.include_router(embedding_routes(runtime, read_body))
    app.include_router(rerank_routes(runtime, read_body))
    app.include_router(token_routes(runtime, read_body))
    app.include_router(routing_routes(runtime, read_body))
    app.include_router(feedback_routes(runtime, read_body, category_experts or {}))
    app.include_router(admin_routes(runtime, end))
    app.include_router(decision_routes(runtime))
    app.include_router(event_routes(runtime, keep_alive_s))
    app.include_router(health_routes(runtime, counts))
    app.include_router(page_routes())
    return app


async def _on_unknown_url(request: Request, error: Exception) -> Response:
    record = current_record()
    # all else that an endpoint raises ends at the gate
    failure = shaped(failure_of(error), request.url.path, record.id if record else "")
    return JSONResponse(failure.body, failure.status, headers=failure.headers)
