"""HTTP/1.1 as bytes over a socket: what no well-behaved client would send."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

__all__ = ["connected", "raw_request", "read_all"]


def connected(url: str, timeout_s: float = 60.0) -> socket.socket:
    """Return a connection to a server; reading raises TimeoutError after `timeout_s`."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    return socket.create_connection((parts.hostname, parts.port or 80), timeout=timeout_s)


def raw_request(method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """Return a request; the headers are written as they are, and only Host is added."""
    lines = [
        f"{method} {target} HTTP/1.1",
        *(f"{name}: {value}" for name, value in {"host": "localhost", **headers}.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def read_all(client: socket.socket) -> bytes:
    """Return what comes until the server closes the connection."""
    received = bytearray()
    try:
        while piece := client.recv(1 << 16):
            received += piece
    except ConnectionResetError:
        pass
    return bytes(received)
