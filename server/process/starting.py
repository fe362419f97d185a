"""What the port answers while experts are imported: /health is 200, everything else 503 with how far the start is.

A server of its own in a thread, over the same listening socket; it ends before the real one begins, and the socket
keeps the connections that come between. The imports stay in the main thread, where a signal ends them at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send

from coe.errors import StartingError
from server.failures import failure_of

__all__ = ["Starting", "answering"]

RETRY_AFTER_S = "5"
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
        del receive  # a body is not read: whatever it asks for is refused
        if scope["type"] == "http":
            status, body = self._answer(scope["path"])
            headers = {"content-type": "application/json", "connection": "close"}
            headers |= {} if status == 200 else {"retry-after": RETRY_AFTER_S}
            encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
            await send({"type": "http.response.start", "status": status, "headers": encoded})
            await send({"type": "http.response.body", "body": json.dumps(body).encode()})

    def _answer(self, path: str) -> tuple[int, dict[str, Any]]:
        if path == "/health":
            return 200, {"status": "ok"}
        if path == "/ready":
            return 503, {"ready": False, "status": self.doing}
        failure = failure_of(StartingError(f"the server is not ready: {self.doing}; try again in a moment"))
        return failure.status, failure.body


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
def answering(listener: socket.socket) -> Iterator[Starting]:
    """Answer on a listening socket until the block ends; the socket stays open."""
    starting = Starting()
    config = uvicorn.Config(
        starting, log_config=None, access_log=False, lifespan="off", ws="none", timeout_graceful_shutdown=1
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
