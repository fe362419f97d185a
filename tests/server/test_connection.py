"""Clients that take their time, read nothing, or speak something else: every wait for them has an end."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_keys import bearer, write_keys
from compositions import write_config
from raw_http import connected, raw_request, read_all, read_answer
from server_live import Live, live_server, post
from waits import until

from server.connection import ConnectionLimits

CHAT = "/v1/chat/completions"
HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory, llama_folder: Path) -> Iterator[Live]:
    """A server that waits for nobody."""
    config = write_config(tmp_path_factory.mktemp("hasty"), {"general": llama_folder})
    limits = ConnectionLimits(max_connections=4, header_timeout_s=0.2, reader_timeout_s=0.3)
    with live_server(config, limits=limits, body_timeout_s=0.2) as server:
        yield server


def status_and_code(answer: bytes) -> tuple[int, str | None]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"x-request-id: " in head
    return int(head.split()[1]), json.loads(body)["error"]["code"]


def test_headers_that_trickle_are_ended(hasty: Live) -> None:
    with connected(hasty.url) as client:
        client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nx-a: ")
        assert status_and_code(read_all(client)) == (408, "request_timeout")


def test_a_connection_that_says_nothing_is_ended(hasty: Live) -> None:
    with connected(hasty.url) as client:
        assert read_all(client) == b""


def test_headers_of_a_second_request_that_trickle_are_ended(hasty: Live) -> None:
    with connected(hasty.url) as client:
        client.sendall(raw_request("GET", "/health", {}))
        assert read_answer(client).startswith(b"HTTP/1.1 200")
        client.sendall(b"GET /health HTTP/1.1\r\nhost: local")
        assert status_and_code(read_all(client)) == (408, "request_timeout")


@pytest.mark.parametrize("framing", [{"content-length": "100"}, {"transfer-encoding": "chunked"}])
def test_a_body_that_trickles_is_ended(hasty: Live, framing: dict[str, str]) -> None:
    with connected(hasty.url) as client:
        client.sendall(raw_request("POST", CHAT, framing) + (b"{" if "content-length" in framing else b"1\r\n{\r\n"))
        assert status_and_code(read_answer(client)) == (408, "request_timeout")


def test_a_body_that_nobody_reads_is_ended(hasty: Live) -> None:
    with connected(hasty.url) as client:
        client.sendall(raw_request("POST", "/v1/nowhere", {"content-length": "1000000"}) + b"{")
        assert status_and_code(read_answer(client)) == (404, "unknown_url")
        client.sendall(b" ")
        assert read_all(client) == b""


def test_a_body_that_is_announced_too_large_is_refused_before_it_comes(hasty: Live) -> None:
    with connected(hasty.url) as client:
        client.sendall(raw_request("POST", CHAT, {"content-length": str(1 << 40)}))
        assert status_and_code(read_answer(client)) == (413, "request_too_large")


def test_a_reader_that_stops_is_cut_off_and_its_generation_cancelled(
    hasty: Live, caplog: pytest.LogCaptureFixture
) -> None:
    """128 choices with log-probabilities are megabytes: more than any socket buffer takes."""
    body = {
        **HELLO,
        "stream": True,
        "n": 128,
        "max_tokens": 400,
        "ignore_eos": True,
        "logprobs": True,
        "top_logprobs": 20,
    }
    text = json.dumps(body).encode()
    with caplog.at_level(logging.WARNING), connected(hasty.url) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(raw_request("POST", CHAT, {"content-length": str(len(text))}, text))
        until(lambda: "cut off" in caplog.text, "it is cut off")
    until(lambda: not any(expert.num_requests for expert in hasty.runtime.operator.experts()), "its request has ended")
    assert hasty.runtime.metrics.snapshot().requests["general", "cancelled"] >= 1


def test_one_connection_too_many_is_told_so(tmp_path: Path, llama_folder: Path) -> None:
    with ExitStack() as stack:
        config = write_config(tmp_path, {"general": llama_folder})
        live = stack.enter_context(live_server(config, limits=ConnectionLimits(max_connections=4)))
        clients = [stack.enter_context(connected(live.url)) for _ in range(5)]
        for client in clients:
            client.sendall(raw_request("POST", CHAT, {"content-length": "9", "expect": "100-continue"}))
        answers = [client.recv(1000) for client in clients]
    assert [answer.startswith(b"HTTP/1.1 100") for answer in answers[:4]] == [True] * 4
    assert status_and_code(answers[4]) == (503, "too_many_connections")
    assert b"retry-after: 1" in answers[4]


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),  # TLS
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no host
        (b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: localhost\r\nno colon\r\n\r\n", 400),
        (raw_request("POST", CHAT, {"content-length": "-1"}), 400),
        (raw_request("POST", CHAT, {"content-length": "1", "Content-Length": "2"}), 400),
        (raw_request("POST", CHAT, {"transfer-encoding": "gzip"}), 400),
        (raw_request("POST", CHAT, {"transfer-encoding": "chunked"}) + b"zz\r\n", 400),
        (raw_request("PUT", "/health", {"transfer-encoding": "chunked"}) + b"zz\r\n", 400),
        (raw_request("GET", "/health", {"x": "y" * 20_000})[:-2], 431),
    ],
)
def test_what_is_not_http_is_refused_in_openais_shape(live: Live, request_bytes: bytes, status: int) -> None:
    with connected(live.url) as client:
        client.sendall(request_bytes)
        assert status_and_code(read_all(client))[0] == status


def test_a_body_that_breaks_its_framing_ends_the_request_without_a_trace(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    for method in ("HEAD", "POST", "PUT"):
        for path in (CHAT, "/health", "/v1/nowhere"):
            for late in (False, True):
                with connected(live.url) as client:
                    head = raw_request(method, path, {"transfer-encoding": "chunked", "expect": "100-continue"})
                    client.sendall(head if late else head + b"zz\r\n")
                    if late:
                        client.recv(1000)
                        client.sendall(b"zz\r\n")
                    read_all(client)
    assert post(live, CHAT, HELLO).status_code == 200
    assert not [record for record in caplog.records if record.exc_info or "Exception" in record.getMessage()]


def test_an_aborted_upload_is_one_line_and_no_trace(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        with connected(live.url) as client:
            client.sendall(raw_request("POST", CHAT, {"content-length": "1000", "x-request-id": "gone"}, b'{"messages'))
        until(lambda: "gone" in caplog.text, "it is gone")
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert lines == [f"failed id=gone status=499 code=cancelled POST '{CHAT}'"]
    assert "Traceback" not in caplog.text


def test_an_upgrade_is_ignored(live: Live) -> None:
    headers = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-key": "x", "sec-websocket-version": "13"}
    assert httpx.get(f"{live.url}/health", headers=headers).status_code == 200


def test_a_stranger_can_fill_no_memory_with_bodies(tmp_path: Path, llama_folder: Path) -> None:
    """Without a key a body is not read: the answer comes before it."""
    config = write_config(tmp_path, {"general": llama_folder}, write_keys(tmp_path, alice=""))
    with live_server(config) as keyed, connected(keyed.url) as client:
        client.sendall(raw_request("POST", CHAT, {"content-length": "1000000"}))
        assert status_and_code(read_answer(client)) == (401, "invalid_api_key")
        client.close()
        assert post(keyed, CHAT, HELLO, **bearer("alice")).status_code == 200
