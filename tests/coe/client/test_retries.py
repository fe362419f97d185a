"""What the server has not taken is asked again, after waits that grow or that the server asks for; nothing else is."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import threading
from email.utils import formatdate

import httpx
import pytest
from scripted_server import Reply, Scripted, scripted_server

from coe import AsyncClient, Client, CoeError, OverloadedError, RateLimitError, UnreachableError
from coe.client.retries import AsyncRetryingHttp, Retries, RetryingHttp, retry_after_s

SOON = {"retry-after": "0"}
MODELS = json.dumps({"data": [{"id": "coe"}, {"id": "sql"}]})
FULL = json.dumps({"error": {"message": "full", "type": "x", "param": None, "code": "overloaded"}})
LIMITED = json.dumps({"error": {"message": "enough", "type": "x", "param": None, "code": "rate_limit_exceeded"}})


def test_waits_grow_twofold_to_a_bound_and_chance_halves_them_at_most() -> None:
    retries = Retries(max_retries=9, first_wait_s=0.5)
    assert [retries.wait_s(failed, chance=1.0) for failed in range(1, 8)] == [0.5, 1, 2, 4, 8, 8, 8]
    assert [retries.wait_s(failed, chance=0.0) for failed in range(1, 4)] == [0.25, 0.5, 1]
    assert 0.25 <= (retries.wait_s(1) or 0) <= 0.5


def test_after_the_last_attempt_there_is_no_wait() -> None:
    assert Retries(max_retries=1).wait_s(1) is not None
    assert Retries(max_retries=1).wait_s(2) is None
    assert Retries(max_retries=0).wait_s(1, retry_after_s=0.0) is None


def test_what_the_server_asks_for_is_the_least_and_too_long_is_not_waited_for() -> None:
    retries = Retries(first_wait_s=0.5)
    assert retries.wait_s(1, retry_after_s=7.0, chance=0.0) == 7.0
    assert retries.wait_s(1, retry_after_s=7.0, chance=1.0) == 7.5
    assert retries.wait_s(1, retry_after_s=3600.0) is None


def test_retry_after_is_read_as_seconds_and_as_a_date() -> None:
    assert retry_after_s({"retry-after": "7"}) == 7.0
    assert retry_after_s({"retry-after": formatdate(0, usegmt=True)}) == 0.0
    assert (retry_after_s({"retry-after": formatdate(4e9, usegmt=True)}) or 0) > 1e6
    for written in ({}, {"retry-after": "soon"}, {"retry-after": "-1"}):
        assert retry_after_s(written) is None


@pytest.mark.parametrize("status", [429, 503])
def test_a_request_that_is_refused_for_now_is_asked_again(status: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "coe.client")
    with scripted_server([Reply(status, FULL, SOON), Reply(status, FULL, SOON), Reply(200, MODELS)]) as server:
        with Client(server.url) as client:
            assert client.models() == ["coe", "sql"]
        assert len(server.asked) == 3
        server.asked.clear()
        assert asyncio.run(models(server)) == ["coe", "sql"]
    assert len(server.asked) == 3
    assert re.search(rf"retry GET /v1/models in 0\.\d s: the server answered {status}", caplog.text)


async def models(server: Scripted) -> list[str]:
    async with AsyncClient(server.url) as client:
        return await client.models()


def test_the_last_refusal_is_the_callers() -> None:
    with scripted_server([Reply(429, FULL, SOON)]) as server:
        with Client(server.url, max_retries=1) as client, pytest.raises(OverloadedError, match="full") as caught:
            client.models()
        assert caught.value.retry_after_s == 0.0
        assert len(server.asked) == 2
        with Client(server.url, max_retries=0) as client, pytest.raises(OverloadedError):
            client.models()
        assert len(server.asked) == 3


def test_a_long_retry_after_is_not_waited_for() -> None:
    with scripted_server([Reply(429, LIMITED, {"retry-after": "3600"})]) as server:
        with Client(server.url) as client, pytest.raises(RateLimitError) as caught:
            client.models()
        assert caught.value.retry_after_s == 3600.0
        assert len(server.asked) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 408, 500, 502, 504])
def test_other_failures_are_final(status: int) -> None:
    with scripted_server([Reply(status, "{}", SOON)]) as server:
        with Client(server.url) as client, pytest.raises(CoeError, match=str(status)):
            client.models()
        assert len(server.asked) == 1


def test_what_broke_after_it_was_sent_is_not_sent_again() -> None:
    with scripted_server([Reply(200, "{", breaks=True)]) as server:
        with Client(server.url) as client, pytest.raises(UnreachableError, match="ask again"):
            client.models()
        assert len(server.asked) == 1


def test_the_body_is_sent_again_whole() -> None:
    with scripted_server([Reply(503, FULL, SOON)]) as server:
        with Client(server.url, max_retries=1) as client, pytest.raises(OverloadedError):
            client.chat("hello", seed=7)
        first, second = (json.loads(asked.body) for asked in server.asked)
    assert first == second == {"model": "coe", "messages": [{"role": "user", "content": "hello"}], "seed": 7}


def test_a_stream_that_is_refused_for_now_is_asked_again() -> None:
    with scripted_server([Reply(429, FULL, SOON)]) as server:
        with (
            Client(server.url, max_retries=2) as client,
            client.stream("hello") as stream,
            pytest.raises(OverloadedError),
        ):
            list(stream)
        assert len(server.asked) == 3


def test_a_server_that_starts_late_is_reached() -> None:
    """Nothing was sent before there was a connection, so the request is sent when there is one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    listening = threading.Event()

    def serve_later() -> None:
        refused.wait()
        with socket.create_server(("127.0.0.1", port)) as listener:
            listening.set()
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")

    refused = threading.Event()
    server = threading.Thread(target=serve_later)
    server.start()
    with RetryingHttp(Retries(max_retries=9, first_wait_s=0.05), base_url=f"http://127.0.0.1:{port}") as http:
        with pytest.raises(httpx.ConnectError), RetryingHttp(Retries(0), base_url=http.base_url) as impatient:
            impatient.get("/")
        refused.set()
        assert http.get("/").json() == {}
    server.join()


def test_no_server_at_all_is_an_error_in_the_end() -> None:
    async def ask() -> None:
        async with AsyncRetryingHttp(Retries(2, first_wait_s=0.01)) as http:
            await http.get("http://127.0.0.1:9/")

    with pytest.raises(httpx.ConnectError):
        asyncio.run(ask())
