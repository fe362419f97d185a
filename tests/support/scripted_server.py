"""An HTTP server that answers what a test has written down, one answer a request, and keeps what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Asked", "Reply", "Scripted", "scripted_server"]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. It promises more bytes than it sends where it `breaks`, and closes the connection, and where it
    `hangs`, until the server ends."""

    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    breaks: bool = False
    hangs: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that came. Names of headers are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Scripted:
    """A running server. `asked` has every request so far."""

    def __init__(self, url: str) -> None:
        self.url, self.asked = url, list[Asked]()


@contextmanager
def scripted_server(replies: Sequence[Reply]) -> Iterator[Scripted]:
    """Serve these answers in their order, the last one again and again, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("content-length", 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            server.asked.append(Asked(self.command, self.path, headers, self.rfile.read(length)))
            reply = replies[min(len(server.asked), len(replies)) - 1]
            body = reply.body.encode()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body) + (reply.breaks or reply.hangs)))
            self.end_headers()
            self.wfile.write(body)
            if reply.hangs:
                ended.wait()

        do_POST = do_GET  # noqa: N815 (http.server's name)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    ended = threading.Event()
    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = Scripted(f"http://127.0.0.1:{listener.server_address[1]}")
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        ended.set()
        listener.shutdown()
        thread.join()
        listener.server_close()
