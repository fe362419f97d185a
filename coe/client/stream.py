"""A chat completion that comes in pieces: server-sent events → text as it comes, and the whole Answer at the end.

StreamReader takes the lines; Stream and AsyncStream fetch them and differ only in how they wait. Source: WHATWG HTML,
"Server-sent events", of which the server uses `data:` lines, comments and one event, `error`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import httpx

from coe.client.answers import Answer, Choice, answer_from
from coe.client.errors import connection_errors, error_in, raise_for
from coe.errors import CoeError

__all__ = ["AsyncStream", "Stream", "StreamReader"]


class Stream:
    """Pieces of the first choice's text, by iteration; `answer` has everything after the last piece."""

    def __init__(self, client: httpx.Client, path: str, body: dict[str, Any], headers: Mapping[str, str]) -> None:
        self._context = client.stream("POST", path, json=body, headers=headers)
        self._reader = StreamReader()

    def __iter__(self) -> Iterator[str]:
        with connection_errors(), self._context as response:
            if response.is_error:
                response.read()
                raise_for(response)
            for line in response.iter_lines():
                yield from self._reader.feed(line)

    @property
    def answer(self) -> Answer:
        """The whole answer; raises CoeError before the stream has ended."""
        return self._reader.answer()


class AsyncStream:
    """`Stream`, awaited."""

    def __init__(self, client: httpx.AsyncClient, path: str, body: dict[str, Any], headers: Mapping[str, str]) -> None:
        self._context = client.stream("POST", path, json=body, headers=headers)
        self._reader = StreamReader()

    async def __aiter__(self) -> AsyncIterator[str]:
        with connection_errors():
            async with self._context as response:
                if response.is_error:
                    await response.aread()
                    raise_for(response)
                async for line in response.aiter_lines():
                    for piece in self._reader.feed(line):
                        yield piece

    @property
    def answer(self) -> Answer:
        return self._reader.answer()


class StreamReader:
    """The lines of one stream so far."""

    def __init__(self) -> None:
        self._choices: dict[int, _ChoiceReader] = {}
        self._coe: dict[str, Any] = {}
        self._usage: dict[str, int] | None = None
        self._is_error = False

    def feed(self, line: str) -> Iterator[str]:
        """Take one line and give the first choice's text in it, if any; raises the error that the server reports."""
        if line.startswith("event: error"):
            self._is_error = True
        if not line.startswith("data: ") or line == "data: [DONE]":
            return
        data = json.loads(line.removeprefix("data: "))
        if self._is_error:
            raise error_in(data, 500)
        self._coe = data.get("coe", self._coe)
        self._usage = data.get("usage") or self._usage
        for choice in data["choices"]:
            self._choices.setdefault(choice["index"], _ChoiceReader()).feed(choice)
            if (text := choice["delta"].get("content")) and choice["index"] == 0:
                yield text

    def answer(self) -> Answer:
        """The whole answer; raises CoeError before every choice has ended."""
        choices = [self._choices[index].choice() for index in sorted(self._choices)]
        if not choices or any(choice is None for choice in choices):
            raise CoeError("the stream has not ended; iterate over it first")
        return answer_from(tuple(choice for choice in choices if choice is not None), self._coe, self._usage)


class _ChoiceReader:
    """The chunks of one choice so far."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._logprobs: list[Mapping[str, Any]] | None = None
        self._reason: str | None = None

    def feed(self, choice: Mapping[str, Any]) -> None:
        self._pieces.append(choice["delta"].get("content") or "")
        self._reason = choice["finish_reason"] or self._reason
        if choice["logprobs"] is not None:
            self._logprobs = [*(self._logprobs or []), *choice["logprobs"]["content"]]

    def choice(self) -> Choice | None:
        """The choice, None before it has ended."""
        logprobs = None if self._logprobs is None else tuple(self._logprobs)
        return None if self._reason is None else Choice("".join(self._pieces), self._reason, logprobs)
