"""A live server for tests: uvicorn in a thread over a real runtime with tiny random models."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from waits import until

from coe.assembly.wire import build_runtime
from coe.config.read import load_config
from coe.embedding.embedder import LateEmbedder
from coe.runtime import Runtime
from coe.types import Router
from router import GeneralOnly
from server.access.door import build_door
from server.app import create_app
from server.connection import ConnectionLimits
from server.process.serve import bind, uvicorn_config


class Live:
    """A running server. `url` has no trailing slash."""

    def __init__(self, runtime: Runtime, url: str) -> None:
        self.runtime = runtime
        self.url = url


@contextmanager
def live_server(
    config_file: Path,
    router: Router | None = None,
    *,
    limits: ConnectionLimits = ConnectionLimits(),  # noqa: B008 (frozen)
    encoder: LateEmbedder | None = None,
    port: int = 0,
    **settings: Any,
) -> Iterator[Live]:
    """Serve a configuration until the block ends, by default on a free port (0) and without a classifier."""
    config = load_config(config_file)
    router = router or GeneralOnly(general=config.router.general, names=config.names)
    runtime = build_runtime(config, router, encoder=encoder)
    listener = bind("127.0.0.1", port)
    door = build_door(config.access, "127.0.0.1", {})
    app = create_app(runtime, door, max_body_bytes=config.server.max_body_bytes, **settings)
    server = uvicorn.Server(uvicorn_config(app, limits))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        wait_ready(url)
        yield Live(runtime, url)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def wait_ready(url: str) -> None:
    """Ask /ready until it says yes; the socket queues requests until the server accepts them."""
    with httpx.Client(timeout=60) as client:
        until(lambda: client.get(f"{url}/ready").status_code == 200, "the server is ready")


def post(live: Live, path: str, body: object, **headers: str) -> httpx.Response:
    """POST a JSON value, or bytes as they are; `_` in the name of a header stands for `-`."""
    content = body if isinstance(body, bytes) else json.dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{live.url}{path}", content=content, headers=named, timeout=60)


def own_units(live: Live, expert: str) -> set[str]:
    """Hashes of the units that only this expert uses."""
    served = live.runtime.experts.served
    others = {unit.hash for name, each in served.items() if name != expert for unit in each.loaded.manifest.units}
    return {unit.hash for unit in served[expert].loaded.manifest.units} - others
