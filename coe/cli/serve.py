"""`coe serve`: a configuration over HTTP, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import logging
import os

from coe.config.read import load_config
from server.access.door import build_door
from server.connection import ConnectionLimits
from server.ending import Ending
from server.serve import bind, serve
from server.supervisor import supervise

__all__ = ["add_arguments", "run"]

log = logging.getLogger("coe")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", help="address to listen on (default: [server] host, loopback)")
    text = "ask for no API keys: anybody who reaches the port may do everything"
    parser.add_argument("--open", action="store_true", help=text)
    parser.add_argument("--port", type=int, help="port to listen on (default: [server] port, 8000; 0: any)")
    text = "start the server again when it dies; for where neither systemd nor Docker does it"
    parser.add_argument("--restart", action="store_true", help=text)


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to end or the engine has failed.

    Raises ConfigError for a configuration that cannot be used or a port that is taken.
    """
    config = load_config(arguments.config)
    settings = config.server
    listener = bind(arguments.host or settings.host, settings.port if arguments.port is None else arguments.port)
    if arguments.restart and (code := supervise()) is not None:
        return code
    ending = Ending(settings.drain_s)
    host, port = listener.getsockname()[:2]
    door = build_door(config.access, host, os.environ, is_open=arguments.open)
    # torch takes seconds to import: a wrong key and a taken port are said before that
    from coe.assembly.router import build_router
    from coe.assembly.wire import build_runtime
    from coe.progress import import_bars
    from server.app import create_app

    with import_bars() as progress:
        runtime = build_runtime(config, build_router(config.router, config.names), progress=progress)
    app = create_app(runtime, door, max_body_bytes=settings.max_body_bytes, body_timeout_s=settings.body_timeout_s)
    log.info("serving %d experts on http://%s:%d (Ctrl-C ends)", len(config.experts), host, port)
    log.info("access %s", door)
    limits = ConnectionLimits(settings.max_connections, settings.header_timeout_s, settings.reader_timeout_s)
    return serve(app, runtime, listener, ending, limits)
