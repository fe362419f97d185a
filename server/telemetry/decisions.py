"""GET /admin/decisions: the last decisions, as JSON or as the JSONL that the router's commands read."""

from __future__ import annotations

import json

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from coe.errors import InvalidRequestError, shown
from coe.runtime import Runtime
from coe.telemetry.decisions import row_of

__all__ = ["decision_routes"]

FORMATS = ("json", "jsonl")


def decision_routes(runtime: Runtime) -> APIRouter:
    """Return the endpoint. Rows come oldest first; prompts are in them where `[telemetry] keep_prompts` allows it."""
    routes = APIRouter(prefix="/admin")

    @routes.get("/decisions")
    async def decisions(limit: str | None = None, format: str = "json") -> Response:
        if format not in FORMATS:
            raise InvalidRequestError(f"format {shown(format)} is not json or jsonl", param="format")
        log = runtime.telemetry.decisions
        rows = [row_of(decided) for decided in log.last(len(log) if limit is None else _limit(limit))]
        if format == "json":
            return JSONResponse({"decisions": rows, "num_kept": len(log)})
        text = "".join(f"{json.dumps(row)}\n" for row in rows)
        headers = {"content-disposition": 'attachment; filename="decisions.jsonl"'}
        return Response(text, media_type="application/jsonl", headers=headers)

    return routes


def _limit(asked: str) -> int:
    if not (asked.isascii() and asked.isdigit() and len(asked) <= 9):
        raise InvalidRequestError(f"limit {shown(asked)} is not a number of decisions; write 0 or more", param="limit")
    return int(asked)
