"""What the port answers while experts are imported: /health is 200, the page says how far it is, all else is 503.

A server of its own in a thread, over the same listening socket; it ends before the real one begins, and the socket
keeps the connections that come between. The imports stay in the main thread, where a signal ends them at once.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvicorn
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from coe.errors import StartingError
from server.access.caller import caller_of
from server.access.door import Door
from server.access.gate import Gate
from server.page.files import page_answer

__all__ = ["Starting", "answering"]

THREAD = "coe-starting"
HANDOVER_S = 1.0  # for clients that have connected and not yet asked
POLL_S = 0.01

log = logging.getLogger("uvicorn.error")


class Starting:
    """The application of a server that is not ready. `note` takes what assembly reports, from any thread."""

    def __init__(self) -> None:
        self.doing = "starting"

    def note(self, what: str, done: int, total: int) -> None:
        """Say what is being done; `done` of `total` bytes, where they are known."""
        self.doing = f"{what}, {done * 100 // total} %" if total else what

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        doing = self.doing if caller_of(HTTPConnection(scope)).may_know_more else "starting"  # it names experts
        response: Response | None
        if scope["path"] == "/health":
            response = JSONResponse({"status": "ok"})
        elif scope["path"] == "/ready":
            response = JSONResponse({"ready": False, "status": doing}, 503)
        elif (response := page_answer(scope["path"])) is None:
            raise StartingError(f"the server is not ready: {doing}; try again in a moment")  # the gate answers it
        await response(scope, receive, send)


class _Server(uvicorn.Server):
    """A server whose end resets no connection: those it has accepted are answered, the others are the next server's."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for each in self.servers:
            each.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(HANDOVER_S):
                while self.server_state.connections:
                    await asyncio.sleep(POLL_S)
        await super().shutdown(sockets)


@contextmanager
def answering(listener: socket.socket, door: Door) -> Iterator[Starting]:
    """Answer on a listening socket, whom `door` lets in, until the block ends; the socket stays open."""
    starting = Starting()
    config = uvicorn.Config(
        Gate(starting, door),
        log_config=None,
        access_log=False,
        headers=[("connection", "close")],
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    sockets = [listener.dup()]  # the server closes what it is given
    thread = threading.Thread(target=server.run, kwargs={"sockets": sockets}, name=THREAD, daemon=True)
    log.addFilter(_is_of_the_real_server)
    thread.start()
    try:
        yield starting
    finally:
        server.should_exit = True
        thread.join()
        log.removeFilter(_is_of_the_real_server)


def _is_of_the_real_server(record: logging.LogRecord) -> bool:
    """Return False for what uvicorn says of its life here: that a server shuts down would mislead at a start."""
    return record.threadName != THREAD or record.levelno > logging.INFO
