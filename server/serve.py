"""The application under uvicorn: the port is taken before anything is loaded, and Ctrl-C or SIGTERM drains."""

from __future__ import annotations

import errno
import logging
import socket

import uvicorn
from fastapi import FastAPI

from coe.errors import ConfigError
from server.connection import ConnectionLimits, connection_type

__all__ = ["bind", "serve", "uvicorn_config"]


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; raises ConfigError for a port that is taken or an address that is not this machine's.

    Call it before experts are loaded: that takes minutes, and a taken port is known at once.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
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


def serve(app: FastAPI, listener: socket.socket, *, drain_s: float, limits: ConnectionLimits) -> None:
    """Serve until SIGINT or SIGTERM. Running requests get `drain_s` to end; a second signal ends them at once."""
    uvicorn.Server(uvicorn_config(app, drain_s, limits)).run(sockets=[listener])


def uvicorn_config(app: FastAPI, drain_s: float, limits: ConnectionLimits) -> uvicorn.Config:
    """Return how uvicorn serves: HTTP/1.1 within limits, no WebSockets, no logging of its own requests."""
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    return uvicorn.Config(
        app,
        http=connection_type(limits),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, int(drain_s)),
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
