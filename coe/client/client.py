"""`Client` and `AsyncClient`: a connection to a coe server, and a method for each call. Calls are in calls.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, Unpack

import httpx

from coe.client import calls
from coe.client.answers import Answer, Completions, Embeddings
from coe.client.calls import CHAT, Call, Prompt, chat_body, headers
from coe.client.closing import Closes, ClosesAwaited
from coe.client.errors import connection_errors, read_json
from coe.client.events import EVENTS, AsyncEvents, Events
from coe.client.fields import ChatFields, CompletionFields
from coe.client.retries import AsyncRetryingHttp, Retries, RetryingHttp
from coe.client.stream import AsyncStream, Stream
from coe.statuses import AnswersStatus, ExpertStatus, StoreStatus
from coe.types import Decision

__all__ = ["AsyncClient", "Client"]

DEFAULT_URL = "http://127.0.0.1:8000"
CONNECT_S = 10.0
SILENT_S = 60.0  # a watched server says something more often
T = TypeVar("T")


class Client(Closes):
    """A connection to a coe server; use it as a context manager, or `close` it.

    Every method raises CoeError: the class that the server raised, or one that says what is wrong with the connection.
    `base_url` may end in `/v1`. `api_key` is by default what the environment variable COE_API_KEY has; without one no
    key is sent. `headers` go with every request. What the server has not taken (429, 503, no connection) is asked
    again, `max_retries` times, after waits that grow or that its Retry-After asks for. `timeout_s` is how long the
    server may say nothing.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        max_retries: int = 2,
        timeout_s: float = 600.0,
    ) -> None:
        self._http = RetryingHttp(Retries(max_retries), **_options(base_url, api_key, headers, timeout_s))

    def chat(
        self, prompt: Prompt, *, model: str = "coe", conversation: str | None = None, **fields: Unpack[ChatFields]
    ) -> Answer:
        """Ask and wait for the whole answer.

        `prompt` is a user's turn or a conversation, `model` an expert's name, or "coe" to be routed. `conversation` is
        a name of your own for what this goes on with; without one the server knows it by its messages. `fields` are
        the endpoint's: max_tokens, temperature, tools, response_format …, and `extra_body` for any other.
        """
        return self._send(calls.chat(prompt, model, conversation, fields))

    def stream(
        self, prompt: Prompt, *, model: str = "coe", conversation: str | None = None, **fields: Unpack[ChatFields]
    ) -> Stream:
        """Ask as `chat` does and iterate over pieces of the text as they come."""
        body = chat_body(prompt, model, fields, stream=True)
        return Stream(lambda: self._http.stream("POST", CHAT, json=body, headers=headers(conversation)))

    def complete(
        self, prompt: str | Sequence[int], *, model: str = "coe", **fields: Unpack[CompletionFields]
    ) -> Answer:
        """Have a text, or token ids of one expert, continued as it is, without a chat template."""
        return self._send(calls.completion(prompt, model, fields))

    def complete_all(
        self,
        prompts: Sequence[str] | Sequence[Sequence[int]],
        *,
        model: str = "coe",
        **fields: Unpack[CompletionFields],
    ) -> Completions:
        """Have each text of a list continued, by the expert that it is routed to, in one request."""
        return self._send(calls.completions(prompts, model, fields))

    def embed(self, texts: str | Sequence[str], *, model: str = "coe", dimensions: int | None = None) -> Embeddings:
        """Ask for a vector of each text, of at most `dimensions` numbers."""
        return self._send(calls.embeddings(texts, model, dimensions))

    def models(self) -> list[str]:
        """What `model` may be: "coe", and every expert."""
        return self._send(calls.models())

    def watch(self, kinds: Sequence[str] = ()) -> Events:
        """Iterate over what the server does, as it does it: requests, decisions, loads, evictions …

        `kinds` are those to hear of, all without any. A connection that breaks is made again, and goes on after the
        last event that came.
        """
        return Events(lambda again: self._http.stream("GET", EVENTS, **_watching(kinds, again)))

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

    def _send(self, call: Call[T]) -> T:
        with connection_errors():
            return call.value_in(
                read_json(self._http.request(call.method, call.path, json=call.body, headers=call.headers))
            )


class AsyncClient(ClosesAwaited):
    """`Client`, awaited."""

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        max_retries: int = 2,
        timeout_s: float = 600.0,
    ) -> None:
        self._http = AsyncRetryingHttp(Retries(max_retries), **_options(base_url, api_key, headers, timeout_s))

    async def chat(
        self, prompt: Prompt, *, model: str = "coe", conversation: str | None = None, **fields: Unpack[ChatFields]
    ) -> Answer:
        return await self._send(calls.chat(prompt, model, conversation, fields))

    def stream(
        self, prompt: Prompt, *, model: str = "coe", conversation: str | None = None, **fields: Unpack[ChatFields]
    ) -> AsyncStream:
        body = chat_body(prompt, model, fields, stream=True)
        return AsyncStream(lambda: self._http.stream("POST", CHAT, json=body, headers=headers(conversation)))

    async def complete(
        self, prompt: str | Sequence[int], *, model: str = "coe", **fields: Unpack[CompletionFields]
    ) -> Answer:
        return await self._send(calls.completion(prompt, model, fields))

    async def complete_all(
        self,
        prompts: Sequence[str] | Sequence[Sequence[int]],
        *,
        model: str = "coe",
        **fields: Unpack[CompletionFields],
    ) -> Completions:
        return await self._send(calls.completions(prompts, model, fields))

    async def embed(
        self, texts: str | Sequence[str], *, model: str = "coe", dimensions: int | None = None
    ) -> Embeddings:
        return await self._send(calls.embeddings(texts, model, dimensions))

    async def models(self) -> list[str]:
        return await self._send(calls.models())

    def watch(self, kinds: Sequence[str] = ()) -> AsyncEvents:
        return AsyncEvents(lambda again: self._http.stream("GET", EVENTS, **_watching(kinds, again)))

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

    async def _send(self, call: Call[T]) -> T:
        with connection_errors():
            return call.value_in(
                read_json(await self._http.request(call.method, call.path, json=call.body, headers=call.headers))
            )


def _options(base_url: str, api_key: str | None, headers: Mapping[str, str] | None, timeout_s: float) -> dict[str, Any]:
    """Return what both httpx clients are made with."""
    timeout = httpx.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s))
    all_headers = {**calls.key_headers(api_key), **(headers or {})}
    return {"base_url": calls.root_of(base_url), "headers": all_headers, "timeout": timeout}


def _watching(kinds: Sequence[str], again: Mapping[str, str]) -> dict[str, Any]:
    asked = {"params": {"kinds": ",".join(kinds)}} if kinds else {}
    return {**asked, "headers": again, "timeout": httpx.Timeout(SILENT_S, connect=CONNECT_S)}
