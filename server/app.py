"""The HTTP application over a runtime: its life, and the endpoints of every concern together.

Owns start and close of the runtime and where exceptions end. The endpoints themselves are in openai/, routing.py,
admin.py and health.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from coe.errors import CoeError
from coe.runtime import Runtime
from server.admin import admin_routes
from server.bodies import BodyReader
from server.ending import CLOSE_S
from server.failures import failure_of
from server.health import health_routes
from server.openai.routes import openai_routes
from server.routing import routing_routes

__all__ = ["create_app"]


def create_app(runtime: Runtime, *, max_body_bytes: int = 8 << 20, keep_alive_s: float = 5.0) -> FastAPI:
    """Return the application; its lifespan starts the runtime and closes it, which ends what still runs.

    `keep_alive_s` is the time between comments in a stream that has nothing else to send.
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

    app = FastAPI(title="coe", lifespan=lifespan)
    app.add_exception_handler(CoeError, _on_error)
    app.add_exception_handler(Exception, _on_error)
    read_body = BodyReader(max_body_bytes)
    app.include_router(openai_routes(runtime, read_body, keep_alive_s))
    app.include_router(routing_routes(runtime, read_body))
    app.include_router(admin_routes(runtime))
    app.include_router(health_routes(runtime))
    return app


async def _on_error(_: Request, error: Exception) -> Response:
    failure = failure_of(error)
    return JSONResponse(failure.body, failure.status, headers=failure.headers)
