"""GET / and /page/…: the page and its modules, style and licences."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from server.page.files import FOLDER, page_answer

__all__ = ["page_routes"]


def page_routes() -> APIRouter:
    """Return the endpoints."""
    routes = APIRouter()

    @routes.get("/", include_in_schema=False)
    @routes.get(f"{FOLDER}{{name:path}}", include_in_schema=False)
    async def page(request: Request) -> Response:
        answer = page_answer(request.url.path, request.headers.get("if-none-match", ""))
        if answer is None:
            raise HTTPException(404)
        return answer

    return routes
