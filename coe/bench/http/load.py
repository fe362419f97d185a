"""The clients: a process of its own that asks over so many connections and does as little as it can beside.

Reads answers as bytes and parses none of them. Times are on the monotonic clock, which processes share.
"""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

__all__ = ["Load", "Loaded", "ask"]

MAX_BYTES = 1 << 26  # of an answer
_LAST_CHUNK = b"0\r\n\r\n"


class Load(NamedTuple):
    """What is asked: each of `num_streams` connections sends `body` so many times, one after the other."""

    port: int
    body: bytes
    num_streams: int
    num_each: int


class Loaded(NamedTuple):
    """What it took: seconds of every answer, and of all from the first byte of the first to the end of the last."""

    answers_s: list[float]
    wall_s: float
    first_byte_s: float
    num_bytes: int

    @property
    def decode_s(self) -> float:
        return self.wall_s - self.first_byte_s


def ask(load: Load) -> Loaded:
    """Ask, in this process; raises RuntimeError for an answer that is none of status 200."""
    return asyncio.run(_ask_all(load))


async def _ask_all(load: Load) -> Loaded:
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"content-length: {len(load.body)}\r\n\r\n"
    )
    clients = [_Client(load, head.encode() + load.body) for _ in range(load.num_streams)]
    await asyncio.gather(*(client.connect() for client in clients))
    began_s = time.monotonic()
    try:
        await asyncio.gather(*(client.run() for client in clients))
        wall_s = time.monotonic() - began_s
    finally:
        await asyncio.gather(*(client.close() for client in clients))
    return Loaded(
        [each for client in clients for each in client.answers_s],
        wall_s,
        min(client.first_byte_s for client in clients) - began_s,
        sum(client.num_bytes for client in clients),
    )


class _Client:
    """One connection."""

    def __init__(self, load: Load, request: bytes) -> None:
        self._load, self._request = load, request
        self.answers_s: list[float] = []
        self.first_byte_s = 0.0
        self.num_bytes = 0

    async def connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._load.port, limit=MAX_BYTES)

    async def run(self) -> None:
        for number in range(self._load.num_each):
            began_s = time.monotonic()
            self._writer.write(self._request)
            head = await self._reader.readuntil(b"\r\n\r\n")
            if not number:
                self.first_byte_s = time.monotonic()
            self.num_bytes += len(await self._body(head.lower()))
            self.answers_s.append(time.monotonic() - began_s)

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def _body(self, head: bytes) -> bytes:
        if b"transfer-encoding: chunked" in head:
            body = await self._reader.readuntil(_LAST_CHUNK)  # JSON has no line ends of its own
        else:
            length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await self._reader.readexactly(length)
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(f"the server answered {head[:30]!r} {body[:300]!r}")
        return body
