"""`coe serve`: a configuration over HTTP, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from coe.config.read import load_config
from coe.config.schema import Config
from coe.telemetry.spans import start_tracing
from server.access.door import build_door
from server.connection import ConnectionLimits
from server.process.ending import Ending
from server.process.serve import bind, serve
from server.process.starting import answering
from server.process.supervisor import supervise

if TYPE_CHECKING:
    from coe.runtime import Runtime

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
    if start_tracing(os.environ):
        log.info("spans of requests are sent to where OTEL_EXPORTER_OTLP_ENDPOINT says")
    ending = Ending(settings.drain_s)
    host, port = listener.getsockname()[:2]
    door = build_door(config.access, host, os.environ, is_open=arguments.open)
    log.info("listening on http://%s:%d, not ready yet", host, port)
    with answering(listener, door) as starting:
        runtime = _runtime(config, starting.note)
    num_served, num_experts = len(runtime.experts.all_kinds), len(config.experts)
    log.info("serving %d of %d experts on http://%s:%d (Ctrl-C ends)", num_served, num_experts, host, port)
    log.info("access %s", door)
    from coe.assembly.router import category_experts
    from server.app import create_app

    app = create_app(
        runtime,
        door,
        max_body_bytes=settings.max_body_bytes,
        body_timeout_s=settings.body_timeout_s,
        responses_bytes=settings.responses_bytes,
        end=ending.ask,
        category_experts=category_experts(config.router, config.names),
    )
    limits = ConnectionLimits(settings.max_connections, settings.header_timeout_s, settings.reader_timeout_s)
    return serve(app, runtime, listener, ending, limits)


def _runtime(config: Config, note: Callable[[str, int, int], None]) -> Runtime:
    """Load the router and import the experts; `note` is told what is being done, as the bars are."""
    # torch takes seconds to import: a wrong key and a taken port are said before that
    note("loading the router", 0, 0)
    from coe.assembly.router import build_encoder, build_router, check_answer_cache
    from coe.assembly.wire import build_runtime
    from coe.progress import import_bars

    check_answer_cache(config.answer_cache, config.router, config.names)
    router = build_router(config.router, config.names, config.answer_cache)
    encoder = build_encoder(config.router, router)
    with import_bars() as show:

        def progress(what: str, done: int, total: int) -> None:
            note(what, done, total)
            show(what, done, total)

        return build_runtime(config, router, progress=progress, encoder=encoder)
