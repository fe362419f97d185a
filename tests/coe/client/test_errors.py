"""Errors come back as the classes that the server raised; a broken connection says what to do."""

from __future__ import annotations

import httpx
import pytest
from server_live import Live

from coe import Client
from coe.client.errors import connection_errors, error_in, raise_for
from coe.errors import (
    CancelledError,
    CoeError,
    ContextLengthError,
    DeadlineError,
    EngineError,
    ExpertError,
    InvalidRequestError,
    OverloadedError,
    ShutdownError,
    UnknownExpertError,
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
    with Client("http://127.0.0.1:9") as client, pytest.raises(CoeError, match="coe serve"):
        client.experts()


RAISED = [
    (ContextLengthError("too long", param="messages"), ContextLengthError),
    (UnknownExpertError("who", param="model"), UnknownExpertError),
    (InvalidRequestError("what", param="top_p"), InvalidRequestError),
    (OverloadedError("later"), OverloadedError),
    (DeadlineError("late"), DeadlineError),
    (ShutdownError("closing"), ShutdownError),
    (EngineError("failed"), EngineError),
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


def test_a_connection_that_breaks_or_stalls_says_what_to_do() -> None:
    request = httpx.Request("GET", "http://127.0.0.1:9/admin/experts")
    with pytest.raises(DeadlineError, match="raise timeout_s"), connection_errors():
        raise httpx.ReadTimeout("slow", request=request)
    with pytest.raises(CoeError, match="ask again"), connection_errors():
        raise httpx.RemoteProtocolError("cut", request=request)
