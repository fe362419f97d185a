"""`coe serve`: a configuration over HTTP, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import logging

from coe.config.read import load_config
from server.ending import Ending
from server.serve import bind, serve

__all__ = ["add_arguments", "run"]

log = logging.getLogger("coe")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", help="address to listen on (default: [server] host, loopback)")
    parser.add_argument("--port", type=int, help="port to listen on (default: [server] port, 8000; 0: any)")


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to end or the engine has failed.

    Raises ConfigError for a configuration that cannot be used or a port that is taken.
    """
    config = load_config(arguments.config)
    settings = config.server
    ending = Ending(settings.drain_s)
    listener = bind(arguments.host or settings.host, settings.port if arguments.port is None else arguments.port)
    host, port = listener.getsockname()[:2]
    # torch takes seconds to import: a wrong key and a taken port are said before that
    from coe.assembly.router import build_router
    from coe.assembly.wire import build_runtime
    from coe.progress import import_bars
    from server.app import create_app

    with import_bars() as progress:
        runtime = build_runtime(config, build_router(config.router, config.names), progress=progress)
    app = create_app(runtime, max_body_bytes=settings.max_body_bytes)
    log.info("serving %d experts on http://%s:%d (Ctrl-C ends)", len(config.experts), host, port)
    return serve(app, runtime, listener, ending)
