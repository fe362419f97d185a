"""A chat completion that comes in pieces: server-sent events → text as it comes, and the whole Answer at the end.

StreamReader takes the lines; Stream and AsyncStream fetch them and differ only in how they wait. A stream is read once.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from typing import Any

import httpx

from coe.client.answers import Answer, Choice, answer_from, reasoning_in
from coe.client.closing import Closes, ClosesAwaited
from coe.client.errors import connection_errors, error_in, raise_for, reading
from coe.client.once import Once
from coe.client.sse import SseReader
from coe.errors import StreamError
from coe.types import ToolCall

__all__ = ["AsyncStream", "Stream", "StreamDelta", "StreamReader", "ToolCallDelta"]

DONE = "[DONE]"


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of the call number `index`: its id and name come first, then the JSON text of its arguments in pieces."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class StreamDelta:
    """What one piece of a stream adds to the choice number `index`."""

    index: int
    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()


class Stream(Closes):
    """Pieces of the first choice's text, by iteration, or of everything by `deltas`; `answer` is the whole.

    The request is sent when the first piece is asked for. `close`, or the end of a `with` block, ends the connection
    wherever the stream is, and with it the generation. Raises StreamError when it is read a second time.
    """

    def __init__(self, connect: Callable[[], AbstractContextManager[httpx.Response]]) -> None:
        self._connect, self._reader, self._once = connect, StreamReader(), Once("stream")
        self._deltas = self._read()

    def __iter__(self) -> Iterator[str]:
        return (delta.text for delta in self.deltas() if delta.text and delta.index == 0)

    def deltas(self) -> Iterator[StreamDelta]:
        """Pieces of every choice: text, reasoning and tool calls."""
        self._once.begin()
        return self._deltas

    @property
    def answer(self) -> Answer:
        """The whole answer; raises StreamError before the stream has ended."""
        return self._reader.answer()

    def close(self) -> None:
        self._once.close()
        self._deltas.close()

    def _read(self) -> Generator[StreamDelta, None, None]:
        with connection_errors(), self._connect() as response:
            if response.is_error:
                response.read()
                raise_for(response)
            for line in response.iter_lines():
                yield from self._reader.feed(line)


class AsyncStream(ClosesAwaited):
    """`Stream`, awaited."""

    def __init__(self, connect: Callable[[], AbstractAsyncContextManager[httpx.Response]]) -> None:
        self._connect, self._reader, self._once = connect, StreamReader(), Once("stream")
        self._deltas = self._read()

    def __aiter__(self) -> AsyncIterator[str]:
        return self._texts(self.deltas())

    def deltas(self) -> AsyncIterator[StreamDelta]:
        self._once.begin()
        return self._deltas

    @property
    def answer(self) -> Answer:
        return self._reader.answer()

    async def close(self) -> None:
        self._once.close()
        await self._deltas.aclose()

    async def _texts(self, deltas: AsyncIterator[StreamDelta]) -> AsyncIterator[str]:
        async for delta in deltas:
            if delta.text and delta.index == 0:
                yield delta.text

    async def _read(self) -> AsyncGenerator[StreamDelta, None]:
        with connection_errors():
            async with self._connect() as response:
                if response.is_error:
                    await response.aread()
                    raise_for(response)
                async for line in response.aiter_lines():
                    for delta in self._reader.feed(line):
                        yield delta


class StreamReader:
    """The lines of one stream so far."""

    def __init__(self) -> None:
        self._events = SseReader()
        self._choices: dict[int, _ChoiceReader] = {}
        self._coe: dict[str, Any] = {}
        self._usage: dict[str, int] | None = None

    def feed(self, line: str) -> Iterator[StreamDelta]:
        """Take one line and give what it completes, if anything; raises the error that the server reports."""
        event = self._events.feed(line)
        if event is None or event.data == DONE:
            return
        with reading("the stream"):
            data = json.loads(event.data)
        if event.kind == "error" or "error" in data:
            raise error_in(data, 500)
        self._coe = {**self._coe, **(data.get("coe") or {})}
        self._usage = data.get("usage") or self._usage
        for choice in data["choices"]:
            delta = self._choices.setdefault(choice["index"], _ChoiceReader()).feed(choice)
            if delta.text or delta.reasoning or delta.tool_calls:
                yield delta

    def answer(self) -> Answer:
        """The whole answer; raises StreamError before every choice has ended."""
        choices = [self._choices[index].choice() for index in sorted(self._choices)]
        if not choices or any(choice is None for choice in choices):
            raise StreamError("the stream has not ended; iterate over all of it first")
        with reading("the stream"):
            return answer_from(tuple(choice for choice in choices if choice is not None), self._coe, self._usage)


class _ChoiceReader:
    """The chunks of one choice so far."""

    def __init__(self) -> None:
        self._deltas: list[StreamDelta] = []
        self._logprobs: list[Mapping[str, Any]] | None = None
        self._reason: str | None = None

    def feed(self, choice: Mapping[str, Any]) -> StreamDelta:
        said = choice["delta"]
        calls = tuple(map(_call_delta, said.get("tool_calls") or ()))
        delta = StreamDelta(choice["index"], said.get("content") or "", reasoning_in(said), calls)
        self._deltas.append(delta)
        self._reason = choice["finish_reason"] or self._reason
        if (logprobs := choice.get("logprobs")) is not None:
            self._logprobs = [*(self._logprobs or []), *(logprobs["content"] or ())]
        return delta

    def choice(self) -> Choice | None:
        """The choice, None before it has ended."""
        if self._reason is None:
            return None
        text = "".join(delta.text for delta in self._deltas)
        reasoning = "".join(delta.reasoning for delta in self._deltas)
        logprobs = None if self._logprobs is None else tuple(self._logprobs)
        return Choice(text, self._reason, logprobs, reasoning, self._calls())

    def _calls(self) -> tuple[ToolCall, ...]:
        calls: dict[int, ToolCall] = {}
        for piece in (piece for delta in self._deltas for piece in delta.tool_calls):
            begun = calls.get(piece.index, ToolCall("", "", ""))
            calls[piece.index] = ToolCall(
                begun.id or piece.id, begun.name or piece.name, begun.arguments + piece.arguments
            )
        return tuple(calls[index] for index in sorted(calls))


def _call_delta(piece: Mapping[str, Any]) -> ToolCallDelta:
    function = piece.get("function") or {}
    return ToolCallDelta(
        piece["index"], piece.get("id") or "", function.get("name") or "", function.get("arguments") or ""
    )
