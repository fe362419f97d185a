"""HTTP/1.1 as bytes over a socket: what no well-behaved client would send."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

__all__ = ["connected", "raw_request", "read_all", "read_answer"]


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


def read_answer(client: socket.socket) -> bytes:
    """Return one answer that says its length; the connection may stay open."""
    received = bytearray()
    while b"\r\n\r\n" not in received:
        received += _piece(client)
    head, _, body = bytes(received).partition(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    while len(body) < int(length.split(b":")[1]):
        body += _piece(client)
    return head + b"\r\n\r\n" + body


def _piece(client: socket.socket) -> bytes:
    piece = client.recv(1 << 16)
    assert piece, "the connection ended within an answer"
    return piece


def read_all(client: socket.socket) -> bytes:
    """Return what comes until the server closes the connection."""
    received = bytearray()
    try:
        while piece := client.recv(1 << 16):
            received += piece
    except ConnectionResetError:
        pass
    return bytes(received)
