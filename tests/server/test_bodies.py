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
    assert response.status_code == 400
    assert "max_body_bytes" in response.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"{not json", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(live: Live, body: bytes) -> None:
    response = post(live, "/v1/chat/completions", body)
    assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")


class Sized(BaseModel):
    width: int


def test_the_first_wrong_field_is_named_with_its_value_shortened() -> None:
    assert validated(Sized, {"width": 3}).width == 3
    with pytest.raises(InvalidRequestError, match=r"width: .*\(got 'x+\.\.\.\)") as caught:
        validated(Sized, {"width": "x" * 200})
    assert caught.value.param == "width"


@pytest.mark.parametrize("path", ["chat/completions", "route"])
def test_more_messages_than_any_context_can_hold_are_refused_before_they_are_looked_at(live: Live, path: str) -> None:
    response = post(live, f"/v1/{path}", {"messages": [5] * 200_000})
    assert response.status_code == 400
    assert "200,000 messages" in response.json()["error"]["message"]


def test_a_body_of_millions_of_lists_is_read(live: Live) -> None:
    body = {"messages": PROMPT, "max_tokens": 1, "user": [[[]] * 100_000] * 10}
    assert post(live, "/v1/chat/completions", body).status_code == 200
