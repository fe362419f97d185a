"""The clients read whole and chunked answers to their ends, and say it when a server refuses."""

from __future__ import annotations

import json

import pytest
from server_live import Live

from coe.bench.http.load import Load, ask


def load(live: Live, **fields: object) -> Load:
    body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 3, **fields}
    return Load(int(live.url.rsplit(":", 1)[1]), json.dumps(body).encode(), 2, 3)


@pytest.mark.parametrize("streams", [False, True])
def test_every_answer_is_read(live: Live, streams: bool) -> None:
    loaded = ask(load(live, stream=streams))
    assert len(loaded.answers_s) == 6
    assert 0 < loaded.first_byte_s <= loaded.wall_s
    assert loaded.decode_s < loaded.wall_s
    assert loaded.num_bytes > 6 * 200


def test_a_refusal_is_raised(live: Live) -> None:
    with pytest.raises(RuntimeError, match="404"):
        ask(load(live, model="nobody"))
