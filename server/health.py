"""What watches a server asks: /health, /ready, /metrics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from coe.runtime import Runtime
from server.access.caller import caller_of
from server.failures import without_paths
from server.prometheus import exposition
from server.telemetry.http_counts import HttpCounts

__all__ = ["health_routes"]


def health_routes(runtime: Runtime, counts: HttpCounts) -> APIRouter:
    """Return the endpoints: /health says that the process can still answer, /ready that experts can be asked now.

    Both are 503 otherwise; a process that is not healthy is about to end.
    """
    routes = APIRouter()

    @routes.get("/health")
    async def health() -> Response:
        if runtime.failure is not None:
            return JSONResponse({"status": "failed", "reason": without_paths(runtime.failure)}, 503)
        return JSONResponse({"status": "ok"})

    @routes.get("/ready")
    async def ready(request: Request) -> Response:
        body: dict[str, Any] = {"ready": runtime.is_ready}
        if caller_of(request).may_know_more:  # it names experts
            body["status"] = without_paths(runtime.readiness())
        return JSONResponse(body, 200 if runtime.is_ready else 503)

    @routes.get("/metrics")
    async def metrics() -> Response:
        return Response(exposition(runtime.metrics, counts), media_type="text/plain; version=0.0.4; charset=utf-8")

    return routes
