"""Bodies: a limit, JSON whatever the content type, and the first wrong field by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from compositions import write_config
from pydantic import BaseModel
from server_live import Live, live_server, post

from coe.errors import InvalidRequestError
from server.bodies import validated

PROMPT = [{"role": "user", "content": "What is the capital of France?"}]


def test_body_over_the_limit_is_refused(tmp_path: Path, llama_folder: Path) -> None:
    config = write_config(tmp_path, {"general": llama_folder}, "[server]\nmax_body_bytes = 1000")
    with live_server(config) as small:
        response = post(small, "/v1/chat/completions", {"messages": [{"role": "user", "content": "x" * 2000}]})
    assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")
    assert "max_body_bytes" in response.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"{not json", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(live: Live, body: bytes) -> None:
    response = post(live, "/v1/chat/completions", body)
    assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_json_has_not_is_refused(live: Live, number: str) -> None:
    body = f'{{"prompt": "hi", "temperature": {number}}}'.encode()
    error = post(live, "/v1/completions", body).json()["error"]
    assert error["message"] == f"the body is not JSON: {number} is no JSON number"


HALF = rb"\ud83d"  # half of a pair, as JSON writes it


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("chat/completions", rb'{"model": "HALF", "messages": [{"role": "user", "content": "hi"}]}', 404),
        ("chat/completions", rb'{"max_tokens": 1, "messages": [{"role": "user", "content": "HALF"}]}', 200),
        (
            "chat/completions",
            rb'{"max_tokens": 1, "stream": true, "messages": [{"role": "user", "content": "HALF"}]}',
            200,
        ),
        ("chat/completions", rb'{"HALF": 1}', 400),
        ("chat/completions", rb'{"messages": [{"role": "HALF", "content": "hi"}]}', 400),
        ("completions", rb'{"prompt": "a HALF b", "echo": true, "max_tokens": 1}', 200),
        ("completions", rb'{"prompt": "a HALF b", "echo": true, "logprobs": 1, "max_tokens": 0}', 200),
        ("completions", rb'{"prompt": "a HALF b", "echo": true, "max_tokens": 1, "stream": true}', 200),
        ("completions", rb'{"prompt": "a", "stop": "HALF", "max_tokens": 1}', 200),
        ("completions", rb'{"prompt": "a", "tools": ["HALF"]}', 400),
        ("route", rb'{"prompt": "@HALF hi"}', 200),
        ("route", rb'{"model": "HALF", "prompt": "hi"}', 404),
    ],
)
def test_half_a_character_is_replaced_and_never_an_error_of_ours(
    live: Live, path: str, body: bytes, status: int
) -> None:
    response = post(live, f"/v1/{path}", body.replace(b"HALF", HALF))
    assert response.status_code == status
    assert "event: error" not in response.text
    if b"echo" in body:
        assert "\ufffd" in response.text or "\\ufffd" in response.text


def test_whole_pairs_stay_and_bytes_that_are_no_utf8_are_refused(live: Live) -> None:
    answer = post(live, "/v1/completions", rb'{"prompt": "\ud83d\ude00", "echo": true, "max_tokens": 1}').json()
    assert answer["choices"][0]["text"].startswith("\U0001f600")
    error = post(live, "/v1/completions", b'{"prompt": "\xed\xa0\xbd"}').json()["error"]
    assert error["message"] == "the body is not JSON: it is not UTF-8 at byte 12"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/route"])
def test_no_error_repeats_a_large_value(live: Live, path: str) -> None:
    for value in ("x" * 7 * 10**6, "\x00" * 10**6, ["y" * 10**6]):
        for body in ({"model": value, "messages": PROMPT}, {"tools": value}, {"messages": value}):
            response = post(live, path, body)
            assert response.status_code in (400, 404)
            assert len(response.content) < 2000


class Sized(BaseModel):
    width: int


def test_the_first_wrong_field_is_named_with_its_value_shortened() -> None:
    assert validated(Sized, {"width": 3}).width == 3
    with pytest.raises(InvalidRequestError, match=r"width: .*\(got 'x+\.\.\.\)") as caught:
        validated(Sized, {"width": "x" * 200})
    with pytest.raises(InvalidRequestError, match=r"width: Field required$"):
        validated(Sized, {})
    assert caught.value.param == "width"


@pytest.mark.parametrize("path", ["chat/completions", "route"])
def test_more_messages_than_any_context_can_hold_are_refused_before_they_are_looked_at(live: Live, path: str) -> None:
    response = post(live, f"/v1/{path}", {"messages": [5] * 200_000})
    assert response.status_code == 400
    assert "200,000 messages" in response.json()["error"]["message"]


def test_a_body_of_millions_of_lists_is_read(live: Live) -> None:
    body = {"messages": PROMPT, "max_tokens": 1, "user": [[[]] * 100_000] * 10}
    assert post(live, "/v1/chat/completions", body).status_code == 200
