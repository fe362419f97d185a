"""Half a character, which JSON can write and UTF-8 cannot: wherever it stands it becomes U+FFFD, or a 404."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from server_live import Live, post

HALF = "\ud83d"
HELLO = [{"role": "user", "content": "Hello"}]
BODIES: dict[str, tuple[str, int, dict[str, Any]]] = {
    "content": ("chat/completions", 200, {"messages": [{"role": "user", "content": f"a{HALF}b"}]}),
    "a part": ("chat/completions", 200, {"messages": [{"role": "user", "content": [{"type": "text", "text": HALF}]}]}),
    "the role": ("chat/completions", 400, {"messages": [{"role": HALF, "content": "Hello"}]}),
    "the model": ("chat/completions", 404, {"messages": HELLO, "model": f"x{HALF}"}),
    "a stop string": ("chat/completions", 200, {"messages": HELLO, "stop": [HALF]}),
    "an unknown field": ("chat/completions", 200, {"messages": HELLO, "user": HALF}),
    "a field's name": ("chat/completions", 400, {"messages": HELLO, f"x{HALF}": 1}),
    "a value that is refused": ("chat/completions", 400, {"messages": HELLO, "temperature": HALF}),
    "a prompt": ("completions", 200, {"prompt": f"a{HALF}b"}),
    "an echoed prompt": ("completions", 200, {"prompt": f"a{HALF}b", "echo": True}),
    "an echoed and scored prompt": ("completions", 200, {"prompt": f"a{HALF}b", "echo": True, "logprobs": 1}),
    "a mention": ("completions", 200, {"prompt": f"@other {HALF}", "echo": True}),
    "a prompt to route": ("route", 200, {"prompt": HALF}),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("path", "status", "body"), BODIES.values(), ids=BODIES)
def test_half_a_character_is_never_a_failure_of_the_server(
    live: Live, path: str, status: int, body: dict[str, Any], stream: bool
) -> None:
    more = {} if path == "route" else {"stream": stream, "max_tokens": 2}
    response: httpx.Response = post(live, f"/v1/{path}", {**body, **more})
    assert response.status_code == status, response.text
    assert "internal error" not in response.text
    assert '"code": "expert_unavailable"' not in response.text


def test_whole_characters_written_as_two_halves_stay(live: Live) -> None:
    body = b'{"prompt": "a\\ud83d\\ude00b\\ud83dc", "echo": true, "max_tokens": 0}'
    assert post(live, "/v1/completions", body).json()["choices"][0]["text"] == "a😀b\ufffdc"
