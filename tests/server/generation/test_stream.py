"""Server-sent events: errors after the headers, and comments while nothing comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

from coe.errors import OverloadedError
from coe.types import Decision, Delta, Finished, FinishReason, GenerateEvent, Routed, Switch, SwitchKind, Tier, Usage
from server.generation.stream import MOST_UNSENT, sse
from server.openai.answers import ChatAnswer
from server.openai.requests import ChatRequest

PROMPT = [{"role": "user", "content": "What is the capital of France?"}]


ROUTED = Routed(Decision("general", None, None, "general", ""), Tier.DEVICE, 3)


def chat_answer() -> ChatAnswer:
    return ChatAnswer(
        "id", ChatRequest.model_validate({"messages": PROMPT, "stream_options": {"include_usage": True}}), ROUTED
    )


def stream_of(*events: GenerateEvent | Exception, silent_s: float = 0.0) -> str:
    """The text of a stream whose events come after a silence; an exception ends it."""

    async def generate() -> AsyncGenerator[GenerateEvent, None]:
        await asyncio.sleep(silent_s)
        for event in events:
            if isinstance(event, Exception):
                raise event
            yield event

    async def collect() -> str:
        pieces = sse(chat_answer(), ROUTED, generate(), keep_alive_s=0.01)
        return "".join([piece async for piece in pieces])

    return asyncio.run(collect())


END = Finished(FinishReason.STOP, Usage(3, 1), Switch(SwitchKind.DEVICE_HIT, 0, 0.0, 0.0, 0.0))


def test_a_stream_is_chunks_usage_and_done() -> None:
    lines = stream_of(Delta("hi", (1,)), Delta("", (2,)), END).split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    chunks: list[Any] = [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]
    assert [chunk["choices"][0]["delta"].get("content") for chunk in chunks[:-1]] == ["", "hi", None]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 4


def test_comments_keep_a_silent_stream_alive() -> None:
    assert ": keep-alive\n\n" in stream_of(END, silent_s=0.05)


def test_an_error_in_the_middle_ends_the_stream_as_an_event() -> None:
    text = stream_of(Delta("hi", (1,)), OverloadedError("too much"))
    assert 'event: error\ndata: {"error": {"message": "too much"' in text
    assert '"code": "overloaded"' in text
    assert text.endswith("}}\n\ndata: [DONE]\n\n")


def test_events_that_come_together_are_written_together() -> None:
    """Each is a chunk of its own, in one piece of the body."""

    async def generate() -> AsyncGenerator[GenerateEvent, None]:
        for number in range(3):
            yield Delta("a", (number,))
        await asyncio.sleep(0.05)
        yield END

    async def collect() -> list[str]:
        return [piece async for piece in sse(chat_answer(), ROUTED, generate(), keep_alive_s=10)]

    pieces = asyncio.run(collect())
    assert [piece.count("data: ") for piece in pieces] == [1, 3, 1, 1, 1]


def test_a_stream_that_nobody_reads_takes_few_events_and_closes_them() -> None:
    taken = []
    is_closed = asyncio.Event()

    async def generate() -> AsyncGenerator[GenerateEvent, None]:
        try:
            for number in range(10 * MOST_UNSENT):
                taken.append(number)
                yield Delta("a", (number,))
        finally:
            is_closed.set()

    async def leave() -> None:
        stream = sse(chat_answer(), ROUTED, generate(), keep_alive_s=10)
        await anext(stream)
        await anext(stream)
        await asyncio.sleep(0.05)
        await stream.aclose()

    asyncio.run(leave())
    assert is_closed.is_set()
    assert len(taken) <= 2 * MOST_UNSENT + 1
