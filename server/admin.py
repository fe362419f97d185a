"""The operator's endpoints: what is where, and wishes about it (load, unload, pin, unpin)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from coe.errors import InvalidRequestError
from coe.runtime import Runtime

__all__ = ["admin_routes"]


def admin_routes(runtime: Runtime) -> APIRouter:
    """Routes under /admin."""
    routes = APIRouter(prefix="/admin")
    wishes: dict[str, Callable[[str], Awaitable[None]]] = {
        "load": runtime.operator.load,
        "unload": runtime.operator.unload,
        "pin": runtime.operator.pin,
        "unpin": runtime.operator.unpin,
    }

    @routes.get("/experts")
    async def experts() -> dict[str, Any]:
        return {"experts": [asdict(status) for status in runtime.operator.experts()]}

    @routes.get("/store")
    async def store() -> dict[str, Any]:
        return asdict(await runtime.operator.store())

    @routes.post("/experts/{name}/{wish}")
    async def wish_for(name: str, wish: str) -> dict[str, Any]:
        if wish not in wishes:
            raise InvalidRequestError(f"there is no '{wish}'; there are {', '.join(wishes)}", param="wish")
        await wishes[wish](name)
        status = next(
            status for status in runtime.operator.experts() if name.lower() in _words(status.name, status.aliases)
        )
        return {"ok": True, "expert": asdict(status)}

    return routes


def _words(name: str, aliases: tuple[str, ...]) -> set[str]:
    return {name.lower(), *(alias.lower() for alias in aliases)}
