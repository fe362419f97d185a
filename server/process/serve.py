"""The application under uvicorn: the port is taken before anything is loaded, and how the process ends.

Asked to end, it takes no new requests, gives those that run `drain_s`, ends the rest with an error, and its exit code
is 0. When the runtime has failed it says so to everybody for a moment, and its exit code is 1.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Generator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI

from coe.errors import ConfigError
from server.connection import ConnectionLimits, connection_type
from server.process.ending import CLOSE_S, FAILED, GRACE_S, LINGER_S, Ending, end_hard_in

if TYPE_CHECKING:  # it imports torch, which takes seconds: a taken port is said before that
    from coe.runtime import Runtime

__all__ = ["bind", "serve", "uvicorn_config"]

log = logging.getLogger("coe.server")


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; raises ConfigError for a port that is taken or an address that is not this machine's.

    Call it before experts are loaded: that takes minutes, and a taken port is known at once.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off for sockets that say they are TCP's; with it a small answer waits 40 ms
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"port {port} on {host} is taken; stop what listens there or choose another with --port"
            ) from error
        raise ConfigError(f"cannot listen on {host}:{port} ({error}); choose another with --host/--port") from error
    return listener


def serve(app: FastAPI, runtime: Runtime, listener: socket.socket, ending: Ending, limits: ConnectionLimits) -> int:
    """Serve until `ending` is asked for or the runtime fails; returns the exit code.

    Does not return where threads would be waited for that may never end: those of a failed or a hanging engine.
    """
    config = uvicorn_config(app, limits)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(_Server(config), runtime, listener, ending))
    if runtime.failure is not None or runtime.engine.is_alive:
        logging.shutdown()
        os._exit(FAILED)
    end_hard_in(0.0)
    return 0


class _Server(uvicorn.Server):
    """uvicorn's server, which leaves signals to `Ending`."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


async def _serve(server: _Server, runtime: Runtime, listener: socket.socket, ending: Ending) -> None:
    async def end() -> None:
        try:
            await _until_nothing_runs(runtime, ending)
        finally:
            server.should_exit = True

    runtime.engine.ended.add_done_callback(_on_engine_end)
    ends = asyncio.create_task(end())
    await server.serve(sockets=[listener])
    await ends


async def _until_nothing_runs(runtime: Runtime, ending: Ending) -> None:
    """Return when the process may end: somebody asked for it and has waited for what ran, or the runtime has failed."""
    asked, failed = asyncio.create_task(ending.asked()), asyncio.create_task(runtime.failed())
    await asyncio.wait({asked, failed}, return_when=asyncio.FIRST_COMPLETED)
    if not failed.done():
        log.info("ending: what runs may take %g s; a second signal ends at once", ending.drain_s)
        await runtime.drain(ending.drain_s)
    if runtime.failure is not None:
        log.critical("ending with exit code %d: %s", FAILED, runtime.failure)
        await asyncio.sleep(LINGER_S)
    for waiting in (asked, failed):
        waiting.cancel()


def _on_engine_end(ended: Future[None]) -> None:
    """On the engine thread, so that it does not depend on an event loop that may hang too."""
    if ended.exception() is not None:
        end_hard_in(LINGER_S + GRACE_S + CLOSE_S)


def uvicorn_config(app: FastAPI, limits: ConnectionLimits) -> uvicorn.Config:
    """Return how uvicorn serves: HTTP/1.1 within limits, no WebSockets, no logging of its own requests."""
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    return uvicorn.Config(
        app,
        http=connection_type(limits),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )


def _is_news(record: logging.LogRecord) -> bool:
    """Return whether a line of uvicorn's says what the line of the failed request does not."""
    known = (
        "Invalid HTTP request",
        "ASGI callable returned without completing",
        "Unsupported upgrade request",
        "No supported WebSocket",
    )
    return not str(record.msg).startswith(known)
