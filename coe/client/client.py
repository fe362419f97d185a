"""`Client` and `AsyncClient`: a connection to a coe server, and a method for each call. Calls are in calls.py."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from coe.client import calls
from coe.client.answers import Answer
from coe.client.calls import CHAT, Call, Prompt, chat_body, headers
from coe.client.errors import connection_errors, read_json
from coe.client.stream import AsyncStream, Stream
from coe.statuses import AnswersStatus, ExpertStatus, StoreStatus
from coe.types import Decision

__all__ = ["AsyncClient", "Client"]

DEFAULT_URL = "http://127.0.0.1:8000"
T = TypeVar("T")


class Client:
    """A connection to a coe server; use it as a context manager, or `close` it.

    Every method raises CoeError: the class that the server raised, or one that says what is wrong with the connection.
    `api_key` is by default what the environment variable COE_API_KEY has; without one no key is sent.
    """

    def __init__(self, base_url: str = DEFAULT_URL, *, api_key: str | None = None, timeout_s: float = 600.0) -> None:
        self._http = httpx.Client(base_url=base_url, timeout=timeout_s, headers=calls.key_headers(api_key))

    def chat(self, prompt: Prompt, *, model: str = "coe", conversation: str | None = None, **sampling: Any) -> Answer:
        """Ask and wait for the whole answer.

        `prompt` is a user's turn or a conversation, `model` an expert's name, or "coe" to be routed. `conversation` is
        a name of your own for what this goes on with; without one the server knows it by its messages. `sampling` is
        any sampling field of the endpoint: max_tokens, temperature, n, seed …
        """
        return self._send(calls.chat(prompt, model, conversation, sampling))

    def stream(self, prompt: Prompt, *, model: str = "coe", conversation: str | None = None, **sampling: Any) -> Stream:
        """Ask as `chat` does and iterate over pieces of the text as they come."""
        body = chat_body(prompt, model, sampling, stream=True)
        return Stream(self._http, CHAT, body, headers(conversation))

    def route(self, prompt: Prompt, *, model: str = "coe", conversation: str | None = None) -> Decision:
        """Ask which expert would answer, and why, without an answer."""
        return self._send(calls.route(prompt, model, conversation))

    def experts(self) -> list[ExpertStatus]:
        """Every expert: its tier, bytes, pins, loads, last use, and its error if it cannot be had."""
        return self._send(calls.experts())

    def store(self) -> StoreStatus:
        """The folder of imported weights, and the bytes of all files in it."""
        return self._send(calls.store())

    def answers(self) -> AnswersStatus:
        """The answer cache: what it holds, its hits and misses."""
        return self._send(calls.answers())

    def clear_answers(self) -> int:
        """Have the server forget every kept answer; returns how many there were."""
        return self._send(calls.clear_answers())

    def load(self, expert: str) -> ExpertStatus:
        """Bring an expert to the device and wait for all of it."""
        return self._send(calls.command(expert, "load"))

    def unload(self, expert: str) -> ExpertStatus:
        """Free an expert's memory in every tier, but for what other experts share."""
        return self._send(calls.command(expert, "unload"))

    def pin(self, expert: str) -> ExpertStatus:
        """Load an expert and keep it on the device."""
        return self._send(calls.command(expert, "pin"))

    def unpin(self, expert: str) -> ExpertStatus:
        """Let an expert be evicted again."""
        return self._send(calls.command(expert, "unpin"))

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, call: Call[T]) -> T:
        with connection_errors():
            return call.read(
                read_json(self._http.request(call.method, call.path, json=call.body, headers=call.headers))
            )


class AsyncClient:
    """`Client`, awaited."""

    def __init__(self, base_url: str = DEFAULT_URL, *, api_key: str | None = None, timeout_s: float = 600.0) -> None:
        self._http = httpx.AsyncClient(base_url=base_url, timeout=timeout_s, headers=calls.key_headers(api_key))

    async def chat(
        self, prompt: Prompt, *, model: str = "coe", conversation: str | None = None, **sampling: Any
    ) -> Answer:
        return await self._send(calls.chat(prompt, model, conversation, sampling))

    def stream(
        self, prompt: Prompt, *, model: str = "coe", conversation: str | None = None, **sampling: Any
    ) -> AsyncStream:
        body = chat_body(prompt, model, sampling, stream=True)
        return AsyncStream(self._http, CHAT, body, headers(conversation))

    async def route(self, prompt: Prompt, *, model: str = "coe", conversation: str | None = None) -> Decision:
        return await self._send(calls.route(prompt, model, conversation))

    async def experts(self) -> list[ExpertStatus]:
        return await self._send(calls.experts())

    async def store(self) -> StoreStatus:
        return await self._send(calls.store())

    async def answers(self) -> AnswersStatus:
        return await self._send(calls.answers())

    async def clear_answers(self) -> int:
        return await self._send(calls.clear_answers())

    async def load(self, expert: str) -> ExpertStatus:
        return await self._send(calls.command(expert, "load"))

    async def unload(self, expert: str) -> ExpertStatus:
        return await self._send(calls.command(expert, "unload"))

    async def pin(self, expert: str) -> ExpertStatus:
        return await self._send(calls.command(expert, "pin"))

    async def unpin(self, expert: str) -> ExpertStatus:
        return await self._send(calls.command(expert, "unpin"))

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _send(self, call: Call[T]) -> T:
        with connection_errors():
            return call.read(
                read_json(await self._http.request(call.method, call.path, json=call.body, headers=call.headers))
            )
