"""`coe bench http`: hands the server to the benchmark, which does not import it."""

from __future__ import annotations

import argparse
import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import uvicorn

from coe.assembly.wire import build_runtime
from coe.bench.http import command
from coe.bench.http.measures import Served
from coe.config.schema import Config
from coe.errors import EngineError
from router import GeneralOnly
from server.app import create_app
from server.connection import ConnectionLimits
from server.process.serve import bind, uvicorn_config

__all__ = ["add_arguments", "run"]

add_arguments = command.add_arguments


def run(arguments: argparse.Namespace) -> int:
    return command.run(arguments, _served)


@contextmanager
def _served(config: Config) -> Iterator[Served]:
    """Serve a configuration on a free port, without a classifier, on a loop in a thread of its own."""
    runtime = build_runtime(config, GeneralOnly(general=config.router.general, names=config.names))
    listener = bind("127.0.0.1", 0)
    settings = uvicorn_config(create_app(runtime), ConnectionLimits())
    server, loop = uvicorn.Server(settings), Future[asyncio.AbstractEventLoop]()

    def serve() -> None:
        with asyncio.Runner(loop_factory=settings.get_loop_factory()) as runner:
            loop.set_result(runner.get_loop())
            runner.run(server.serve(sockets=[listener]))

    thread = threading.Thread(target=serve, name="server")
    thread.start()
    try:
        while not runtime.is_ready:
            if runtime.failure is not None:
                raise EngineError(runtime.failure)
            time.sleep(0.01)
        yield Served(runtime, listener.getsockname()[1], loop.result())
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
