"""Errors come back as the classes that the server raised; a broken connection says what to do."""

from __future__ import annotations

import httpx
import pytest
from scripted_server import Reply, scripted_server
from server_live import Live

from coe import Client
from coe.client.errors import connection_errors, error_in, raise_for
from coe.errors import (
    CancelledError,
    CoeError,
    ConfigError,
    ContextLengthError,
    DeadlineError,
    EngineError,
    ExpertError,
    InvalidRequestError,
    OverloadedError,
    ShutdownError,
    StartingError,
    UnknownExpertError,
    UnreachableError,
)
from server.failures import failure_of

PROMPT = "What is the capital of France?"


def test_errors_come_back_as_their_own_classes(live: Live) -> None:
    with Client(live.url) as client:
        with pytest.raises(UnknownExpertError, match="nobody"):
            client.chat(PROMPT, model="nobody")
        with pytest.raises(ContextLengthError, match="context"):
            client.chat("word " * 2000)
        with pytest.raises(InvalidRequestError, match="temperature"):
            client.chat(PROMPT, temperature=9)
        with pytest.raises(UnknownExpertError):
            list(client.stream(PROMPT, model="nobody"))


def test_no_server_is_a_clear_error() -> None:
    with Client("http://127.0.0.1:9", max_retries=0) as client, pytest.raises(UnreachableError, match="coe serve"):
        client.experts()
    with pytest.raises(ConfigError, match="write one such as http"):
        Client("127.0.0.1:8000")


RAISED = [
    (ContextLengthError("too long", param="messages"), ContextLengthError),
    (UnknownExpertError("who", param="model"), UnknownExpertError),
    (InvalidRequestError("what", param="top_p"), InvalidRequestError),
    (OverloadedError("later"), OverloadedError),
    (DeadlineError("late"), DeadlineError),
    (ShutdownError("closing"), ShutdownError),
    (EngineError("failed"), EngineError),
    (StartingError("importing 3 of 12"), StartingError),
    (CancelledError("gone"), CoeError),
    (ExpertError("math", "broken"), CoeError),
]


@pytest.mark.parametrize(("raised", "expected"), RAISED)
def test_every_class_that_the_server_reports_is_known(raised: CoeError, expected: type[CoeError]) -> None:
    failure = failure_of(raised)
    found = error_in(failure.body, failure.status)
    assert type(found) is expected
    assert str(found) == str(raised)
    assert getattr(found, "param", None) == getattr(raised, "param", None)


def test_a_body_that_is_no_error_object_gives_the_status() -> None:
    response = httpx.Response(502, text="<html>bad gateway</html>")
    with pytest.raises(CoeError, match="the server answered 502"):
        raise_for(response)
    raise_for(httpx.Response(200))


def test_an_error_says_when_to_try_again_where_the_server_does() -> None:
    failure = failure_of(OverloadedError("full", retry_after_s=6.2))
    with pytest.raises(OverloadedError) as caught:
        raise_for(httpx.Response(failure.status, json=failure.body, headers=failure.headers))
    assert caught.value.retry_after_s == 7.0
    with pytest.raises(CoeError) as caught_other:
        raise_for(httpx.Response(503, text="down", headers={"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}))
    assert caught_other.value.retry_after_s == 0.0


def test_a_connection_that_breaks_or_stalls_says_what_to_do() -> None:
    request = httpx.Request("GET", "http://127.0.0.1:9/admin/experts")
    with pytest.raises(DeadlineError, match="raise timeout_s"), connection_errors():
        raise httpx.ReadTimeout("slow", request=request)
    with pytest.raises(UnreachableError, match="coe serve"), connection_errors():
        raise httpx.ConnectTimeout("slow", request=request)
    with pytest.raises(UnreachableError, match="ask again"), connection_errors():
        raise httpx.RemoteProtocolError("cut", request=request)


@pytest.mark.parametrize("body", ['{"error": "no upstream"}', '{"detail": "no upstream"}', '["no upstream"]', ""])
def test_errors_of_what_stands_between_are_errors_too(body: str) -> None:
    with pytest.raises(CoeError, match=r"no upstream|the server answered 502"):
        raise_for(httpx.Response(502, text=body))


@pytest.mark.parametrize("body", ["<html>", '{"data": 1}', '{"data": [{}]}'])
def test_an_answer_of_something_else_asks_for_the_url(body: str) -> None:
    script = scripted_server([Reply(200, body)])
    with script as server, Client(server.url) as client, pytest.raises(CoeError, match="URL of a coe server"):
        client.models()
