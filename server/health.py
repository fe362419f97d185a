"""What watches a server asks: /health, /ready, /metrics; and the page at / for people."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, JSONResponse

from coe.runtime import Runtime
from server.prometheus import exposition

__all__ = ["health_routes"]

PAGE = Path(__file__).parent / "page" / "index.html"


def health_routes(runtime: Runtime) -> APIRouter:
    """Return the endpoints: /health says that the process can still answer, /ready that experts can be asked now.

    Both are 503 otherwise; a process that is not healthy is about to end.
    """
    routes = APIRouter()

    @routes.get("/health")
    async def health() -> Response:
        if runtime.failure is not None:
            return JSONResponse({"status": "failed", "reason": runtime.failure}, 503)
        return JSONResponse({"status": "ok"})

    @routes.get("/ready")
    async def ready() -> Response:
        body = {"ready": runtime.is_ready, "status": runtime.readiness()}
        return JSONResponse(body, 200 if runtime.is_ready else 503)

    @routes.get("/metrics")
    async def metrics() -> Response:
        return Response(exposition(runtime.metrics), media_type="text/plain; version=0.0.4; charset=utf-8")

    @routes.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(PAGE)

    return routes
