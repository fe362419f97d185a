"""A client's connection: HTTP/1.1 by h11 under uvicorn, with an end to every wait for the client.

Bounds headers (time and size), readers that stop reading, and the number of connections; bodies are bounded where they
are read (bodies.py). What is not HTTP is refused in OpenAI's shape. A client that is cut off is one line in the log.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from dataclasses import dataclass
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from server.openai.objects import error_body

__all__ = ["Connection", "ConnectionLimits", "connection_type"]

log = logging.getLogger("coe.server")

REFUSED_S = 1.0  # for one connection too many to say what it wants, so that it reads the refusal
MAX_HEADER_BYTES = 16 << 10


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """`header_timeout_s` is for all headers of a request, `reader_timeout_s` for a client that reads nothing."""

    max_connections: int = 512
    header_timeout_s: float = 20.0
    reader_timeout_s: float = 60.0


def connection_type(limits: ConnectionLimits) -> type[Connection]:
    """Return the protocol class that uvicorn makes its connections of."""
    return type("Connection", (Connection,), {"limits": limits})


class _Parser(h11.Connection):
    """h11's connection, which remembers the status that its last refusal asks for."""

    refused_with = 400

    def next_event(self) -> Any:
        try:
            return super().next_event()
        except h11.RemoteProtocolError as error:
            self.refused_with = 431 if error.error_status_hint == 431 else 400  # not 501 for an odd transfer encoding
            raise


class Connection(H11Protocol):
    """uvicorn's HTTP/1.1 connection with limits."""

    limits: ClassVar[ConnectionLimits] = ConnectionLimits()

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.conn: _Parser = _Parser(h11.SERVER, MAX_HEADER_BYTES)
        self.access_log = False
        self._is_one_too_many = False
        self._header_timer: asyncio.TimerHandle | None = None
        self._reader_timer: asyncio.TimerHandle | None = None

    # -- headers

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # a send waits until the kernel has taken all: nothing piles up
        self._is_one_too_many = len(self.connections) > self.limits.max_connections
        self._expect_headers(REFUSED_S if self._is_one_too_many else self.limits.header_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._forget(self._header_timer)
        self._forget(self._reader_timer)

    def data_received(self, data: bytes) -> None:
        if self._is_one_too_many:
            text = f"the server has {self.limits.max_connections} connections ([server] max_connections); try again"
            self._refuse(503, "too_many_connections", text, (b"retry-after", b"1"))
            return
        super().data_received(data)

    def handle_events(self) -> None:
        super().handle_events()
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if is_answering or self.transport.is_closing():
            self._forget(self._header_timer)
            self._header_timer = None
        elif self._header_timer is None:  # also while the rest of a refused body comes
            self._expect_headers(self.limits.header_timeout_s)

    def _expect_headers(self, timeout_s: float) -> None:
        self._header_timer = self.loop.call_later(timeout_s, self._end_waiting)

    def _end_waiting(self) -> None:
        """End a connection that has sent no whole request in time; one that has sent a part of it is told."""
        if self.conn.trailing_data[0] and not self._is_one_too_many and self._can_refuse:
            text = f"the headers did not arrive within {self.limits.header_timeout_s:g} s ([server] header_timeout_s)"
            self._refuse(408, "request_timeout", text)
        else:
            self.transport.abort()

    # -- readers

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_reader(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        self._forget(self._reader_timer)

    def _expect_reader(self, unread_bytes: int) -> None:
        self._reader_timer = self.loop.call_later(self.limits.reader_timeout_s, self._check_reader, unread_bytes)

    def _check_reader(self, before_bytes: int) -> None:
        unread_bytes = self.transport.get_write_buffer_size()
        if unread_bytes < before_bytes:
            self._expect_reader(unread_bytes)
            return
        text = "cut off: the client has read nothing for %g s, %d bytes unread"
        log.warning(text, self.limits.reader_timeout_s, unread_bytes)
        self.transport.abort()

    # -- refusals

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 (uvicorn's signature)
        """Answer what is not HTTP; uvicorn calls this."""
        if self._can_refuse:
            status = self.conn.refused_with
            self._refuse(status, None, "the headers are too large" if status == 431 else "this is not HTTP/1.1")
        else:
            self.transport.abort()

    @property
    def _can_refuse(self) -> bool:
        return self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE)

    def _refuse(self, status: int, code: str | None, message: str, *more: tuple[bytes, bytes]) -> None:
        """Answer without the application, and close."""
        kind = "service_unavailable_error" if status == 503 else "invalid_request_error"
        body, request_id = json.dumps(error_body(message, kind, None, code)).encode(), uuid.uuid4().hex
        log.warning("failed id=%s status=%d code=%s before its headers were read", request_id, status, code)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", request_id.encode()),
            (b"connection", b"close"),
            *more,
        ]
        self.transport.write(
            self.conn.send(h11.Response(status_code=status, headers=headers, reason=STATUS_PHRASES[status])) or b""
        )
        is_answering = self._leave_to_nobody()
        if not (is_answering and self.scope["method"] == "HEAD"):
            self.transport.write(self.conn.send(h11.Data(data=body)) or b"")
        self.transport.close()

    def _leave_to_nobody(self) -> bool:
        """Tell a request that is being answered that its client is gone; returns whether there is one."""
        if self.cycle is None or self.cycle.response_complete:
            return False
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        return True

    @staticmethod
    def _forget(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()
