"""A streamed answer is the whole answer in pieces, and errors in it are the server's own."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from server_live import Live
from waits import until

from coe import AsyncClient, Client, StreamError, ToolCall, ToolCallDelta
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
    for line in (": keep-alive", "", "data: [DONE]", "", "id: 7"):
        assert list(reader.feed(line)) == []
    with pytest.raises(CoeError, match="not ended"):
        reader.answer()


def test_an_error_after_the_headers_is_raised_as_its_own_class() -> None:
    error = {"error": {"message": "try again", "type": "x", "param": None, "code": "overloaded"}}
    reader = StreamReader()
    for line in ("event: error", f"data: {json.dumps(error)}"):
        assert list(reader.feed(line)) == []
    with pytest.raises(OverloadedError, match="try again"):
        list(reader.feed(""))


def test_a_stream_is_read_once(live: Live) -> None:
    with Client(live.url) as client, client.stream(PROMPT, model="other", **GREEDY) as stream:
        pieces = list(stream)
        for again in (stream.deltas, lambda: iter(stream)):
            with pytest.raises(StreamError, match="read already"):
                again()
        assert stream.answer.text == "".join(pieces)


def test_the_end_of_the_block_ends_the_answer(live: Live) -> None:
    """The connection is closed, and the generation with it: its expert is not asked by anybody any more."""
    with Client(live.url) as client:
        with client.stream(PROMPT, model="other", max_tokens=400, ignore_eos=True) as stream:
            assert next(iter(stream))
        with pytest.raises(StreamError, match="not ended"):
            _ = stream.answer
        until(lambda: client.experts()[1].num_requests == 0, "nobody asks the expert")
        with client.stream(PROMPT) as unread:
            pass
        with pytest.raises(StreamError, match="is closed"):
            iter(unread)


def test_an_async_stream_is_read_once_and_closed(live: Live) -> None:
    async def read() -> str:
        async with AsyncClient(live.url) as client, client.stream(PROMPT, model="other", **GREEDY) as stream:
            text = "".join([piece async for piece in stream])
            with pytest.raises(StreamError, match="read already"):
                stream.deltas()
            async with client.stream(PROMPT, model="other", max_tokens=400, ignore_eos=True) as left:
                async for _ in left:
                    break
            with pytest.raises(StreamError, match="read already"):
                aiter(left)
            return text

    with Client(live.url) as client:
        assert asyncio.run(read()) == client.chat(PROMPT, model="other", **GREEDY).text


CALLS = [
    {"role": "assistant", "content": None, "reasoning_content": "They ask "},
    {"reasoning_content": "for two."},
    {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "add", "arguments": ""}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '{"x": '}}]},
    {"tool_calls": [{"index": 1, "id": "b", "type": "function", "function": {"name": "now", "arguments": "{}"}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
    {},
]
COE = {
    "expert": "tools",
    "why": "model",
    "tier": "device",
    "switch": {
        "kind": "device_hit",
        "queue_ms": 1.0,
        "evict_ms": 0.0,
        "load_ms": 0.0,
        "first_token_ms": 2.0,
        "loaded_bytes": 0,
        "evicted_bytes": 0,
    },
}


def test_thoughts_and_calls_that_come_in_pieces_are_whole_in_the_answer() -> None:
    """As OpenAI and vLLM stream them: a call's id and name first, then its arguments."""
    reader = StreamReader()
    deltas = []
    for number, delta in enumerate(CALLS):
        reason = "tool_calls" if number == len(CALLS) - 1 else None
        chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}], "coe": COE if reason else None}
        for line in (f"data: {json.dumps(chunk)}", ""):
            deltas += reader.feed(line)
    answer = reader.answer()
    assert "".join(delta.reasoning for delta in deltas) == answer.reasoning == "They ask for two."
    assert answer.tool_calls == (ToolCall("a", "add", '{"x": 1}'), ToolCall("b", "now", "{}"))
    assert (answer.text, answer.finish_reason, answer.expert) == ("", "tool_calls", "tools")
    assert deltas[3].tool_calls == (ToolCallDelta(0, arguments='{"x": '),)


def test_a_stream_of_another_server_asks_for_the_url() -> None:
    reader = StreamReader()
    chunk = {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}
    for line in (f"data: {json.dumps(chunk)}", ""):
        list(reader.feed(line))
    with pytest.raises(CoeError, match="URL of a coe server"):
        reader.answer()
    assert list(reader.feed("data: no json")) == []
    with pytest.raises(CoeError, match="URL of a coe server"):
        list(reader.feed(""))
