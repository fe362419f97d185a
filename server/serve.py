"""Runs the application under uvicorn: a port that is checked first, a drain on Ctrl-C and SIGTERM."""

from __future__ import annotations

import errno
import socket

import uvicorn
from fastapi import FastAPI

from coe.errors import ConfigError

__all__ = ["bind", "serve"]


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; raises ConfigError when the port is taken or the address is not ours.

    Called before anything is loaded, so that a taken port costs nobody a minute.
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


def serve(app: FastAPI, listener: socket.socket, *, drain_s: float) -> None:
    """Serve until SIGINT or SIGTERM. Streams under way get `drain_s` to end; a second signal ends at once."""
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=max(1, int(drain_s)))
    uvicorn.Server(config).run(sockets=[listener])
