"""The operator's endpoints under /admin: which expert is where, the store, the answer cache, commands, the drain."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from coe.errors import InvalidRequestError, shown
from coe.runtime import Runtime

__all__ = ["admin_routes"]


def admin_routes(runtime: Runtime, end: Callable[[], None] | None = None) -> APIRouter:
    """Return the endpoints. A command is answered when it is done, with the expert's status after it.

    `end` asks for the end of the process; without it a drained server goes on to answer that it takes no requests.
    """
    routes = APIRouter(prefix="/admin")
    commands: dict[str, Callable[[str], Awaitable[None]]] = {
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

    @routes.get("/answers")
    async def answers() -> dict[str, Any]:
        return asdict(runtime.answers.status())

    @routes.post("/answers/clear")
    async def clear_answers() -> dict[str, Any]:
        return {"ok": True, "num_cleared": runtime.answers.clear()}

    @routes.post("/drain")
    async def drain() -> dict[str, Any]:
        num_running = runtime.operator.drain()
        if end is not None:
            end()
        return {"ok": True, "num_running": num_running, "ends": end is not None}

    @routes.post("/experts/{name}/{command}")
    async def run_command(name: str, command: str) -> dict[str, Any]:
        if command not in commands:
            known = ", ".join(commands)
            raise InvalidRequestError(f"there is no command {shown(command)}; there are {known}", param="command")
        await commands[command](name)
        status = next(
            status for status in runtime.operator.experts() if name.lower() in _names(status.name, status.aliases)
        )
        return {"ok": True, "expert": asdict(status)}

    return routes


def _names(name: str, aliases: tuple[str, ...]) -> set[str]:
    return {name.lower(), *(alias.lower() for alias in aliases)}
