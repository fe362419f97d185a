"""A streamed answer is the whole answer in pieces, and errors in it are the server's own."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from server_live import Live

from coe import Client
from coe.client.stream import StreamReader
from coe.errors import CoeError, OverloadedError

PROMPT = "What is the capital of France?"
GREEDY = {"temperature": 0, "max_tokens": 12}


def test_stream_gives_the_same_answer_in_pieces(live: Live) -> None:
    with Client(live.url) as client:
        whole = client.chat(PROMPT, model="other", **GREEDY)
        stream = client.stream(PROMPT, model="other", **GREEDY)
        with pytest.raises(CoeError, match="not ended"):
            _ = stream.answer
        pieces = list(stream)
    assert "".join(pieces) == whole.text == stream.answer.text
    assert len(pieces) > 1
    assert replace(stream.answer.usage, cached_tokens=0) == replace(whole.usage, cached_tokens=0)


def test_several_choices_and_their_logprobs_come_whole_and_streamed(live: Live) -> None:
    with Client(live.url) as client:
        whole = client.chat(PROMPT, model="other", n=2, seed=1, max_tokens=6, logprobs=True)
        stream = client.stream(PROMPT, model="other", n=2, seed=1, max_tokens=6, logprobs=True)
        pieces = list(stream)
        plain = client.chat(PROMPT, model="other", **GREEDY)
    assert len(whole.choices) == 2
    assert whole.choices == stream.answer.choices
    assert "".join(pieces) == whole.text == whole.choices[0].text
    assert "".join(token["token"] for token in whole.choices[1].logprobs or ()) == whole.choices[1].text
    assert plain.choices[0].logprobs is None


def test_comments_and_other_events_give_no_text() -> None:
    reader = StreamReader()
    for line in (": keep-alive", "", "data: [DONE]", "id: 7"):
        assert list(reader.feed(line)) == []
    with pytest.raises(CoeError, match="not ended"):
        reader.answer()


def test_an_error_after_the_headers_is_raised_as_its_own_class() -> None:
    error = {"error": {"message": "try again", "type": "x", "param": None, "code": "overloaded"}}
    reader = StreamReader()
    assert list(reader.feed("event: error")) == []
    with pytest.raises(OverloadedError, match="try again"):
        list(reader.feed(f"data: {json.dumps(error)}"))
