"""The application under uvicorn: the port is taken before anything is loaded, and Ctrl-C or SIGTERM drains."""

from __future__ import annotations

import errno
import socket

import uvicorn
from fastapi import FastAPI

from coe.errors import ConfigError

__all__ = ["bind", "serve"]


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


def serve(app: FastAPI, listener: socket.socket, *, drain_s: float) -> None:
    """Serve until SIGINT or SIGTERM. Running requests get `drain_s` to end; a second signal ends them at once."""
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=max(1, int(drain_s)))
    uvicorn.Server(config).run(sockets=[listener])
