"""The Python client: `Client` and `AsyncClient` over the HTTP endpoint.

Light: imports httpx and no torch. What is sent and how answers are read is written once, as pure functions; the two
classes only differ in how they wait. Errors come back as the classes of `coe.errors` that the server raised.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from coe.errors import (
    CoeError,
    ContextLengthError,
    DeadlineError,
    InvalidRequestError,
    OverloadedError,
    ShutdownError,
    UnknownExpertError,
)
from coe.types import (
    CostTerm,
    Decision,
    ExpertStatus,
    Neighbour,
    StoreStatus,
    Switch,
    SwitchKind,
    Tier,
    UnitStatus,
    Usage,
)

__all__ = ["Answer", "AsyncClient", "AsyncStream", "Choice", "Client", "Stream"]

DEFAULT_URL = "http://127.0.0.1:8000"
T = TypeVar("T")
Prompt = str | Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of an answer's texts. `logprobs` are OpenAI's objects, one per token; None where nobody asked for them."""

    text: str
    finish_reason: str
    logprobs: tuple[Mapping[str, Any], ...] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What an expert said, why it was this one, and what switching to it cost; more than one choice with `n`."""

    choices: tuple[Choice, ...]
    decision: Decision
    tier: Tier
    usage: Usage | None
    switch: Switch

    @property
    def text(self) -> str:
        return self.choices[0].text

    @property
    def finish_reason(self) -> str:
        return self.choices[0].finish_reason

    @property
    def expert(self) -> str:
        return self.decision.expert

    @property
    def category(self) -> str | None:
        return self.decision.category

    @property
    def confidence(self) -> float | None:
        return self.decision.confidence

    @property
    def why(self) -> str:
        return self.decision.why


class Stream:
    """Pieces of the first choice's text as they come; `answer` has everything after the last one."""

    def __init__(self, client: httpx.Client, body: dict[str, Any], headers: Mapping[str, str]) -> None:
        self._context = client.stream("POST", "/v1/chat/completions", json=body, headers=headers)
        self._reading = _Reading()

    def __iter__(self) -> Iterator[str]:
        with _connection_errors(), self._context as response:
            if response.is_error:
                response.read()
                raise_for(response)
            for line in response.iter_lines():
                yield from self._reading.feed(line)

    @property
    def answer(self) -> Answer:
        """The whole answer; raises CoeError before the stream has ended."""
        return self._reading.answer()


class AsyncStream:
    """`Stream`, awaited."""

    def __init__(self, client: httpx.AsyncClient, body: dict[str, Any], headers: Mapping[str, str]) -> None:
        self._context = client.stream("POST", "/v1/chat/completions", json=body, headers=headers)
        self._reading = _Reading()

    async def __aiter__(self) -> AsyncIterator[str]:
        with _connection_errors():
            async with self._context as response:
                if response.is_error:
                    await response.aread()
                    raise_for(response)
                async for line in response.aiter_lines():
                    for piece in self._reading.feed(line):
                        yield piece

    @property
    def answer(self) -> Answer:
        return self._reading.answer()


class Client:
    """Talks to a coe server. `chat`, `stream`, `route`, `experts`, and the operator's wishes."""

    def __init__(self, base_url: str = DEFAULT_URL, *, timeout_s: float = 600.0) -> None:
        self._http = httpx.Client(base_url=base_url, timeout=timeout_s)

    def chat(self, prompt: Prompt, *, model: str = "coe", conversation: str | None = None, **sampling: Any) -> Answer:
        """Ask and wait for the whole answer; `sampling` is any sampling field of the endpoint: max_tokens, n, seed …

        `conversation` is a name of your own for what this goes on with; without one it is known by its messages.
        """
        body = _chat_body(prompt, model, sampling)
        return _answer(self._post("/v1/chat/completions", body, _headers(conversation)))

    def stream(self, prompt: Prompt, *, model: str = "coe", conversation: str | None = None, **sampling: Any) -> Stream:
        """Ask and iterate over pieces of text."""
        return Stream(self._http, _stream_body(prompt, model, sampling), _headers(conversation))

    def route(self, prompt: Prompt, *, model: str = "coe", conversation: str | None = None) -> Decision:
        """Ask who would answer, and why."""
        return _route(self._post("/v1/route", _chat_body(prompt, model, {}), _headers(conversation)))

    def experts(self) -> list[ExpertStatus]:
        """Every expert: tiers, bytes, pins, loads, last use."""
        with _connection_errors():
            return _statuses(_checked(self._http.get("/admin/experts")))

    def store(self) -> StoreStatus:
        """Where imported weights are kept, and what they take there."""
        with _connection_errors():
            return StoreStatus(**_checked(self._http.get("/admin/store")))

    def load(self, expert: str) -> ExpertStatus:
        return self._wish(expert, "load")

    def unload(self, expert: str) -> ExpertStatus:
        return self._wish(expert, "unload")

    def pin(self, expert: str) -> ExpertStatus:
        return self._wish(expert, "pin")

    def unpin(self, expert: str) -> ExpertStatus:
        return self._wish(expert, "unpin")

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wish(self, expert: str, wish: str) -> ExpertStatus:
        return _status(self._post(f"/admin/experts/{expert}/{wish}", {})["expert"])

    def _post(self, path: str, body: dict[str, Any], headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        with _connection_errors():
            return _checked(self._http.post(path, json=body, headers=headers))


class AsyncClient:
    """`Client`, awaited."""

    def __init__(self, base_url: str = DEFAULT_URL, *, timeout_s: float = 600.0) -> None:
        self._http = httpx.AsyncClient(base_url=base_url, timeout=timeout_s)

    async def chat(
        self, prompt: Prompt, *, model: str = "coe", conversation: str | None = None, **sampling: Any
    ) -> Answer:
        body = _chat_body(prompt, model, sampling)
        return _answer(await self._post("/v1/chat/completions", body, _headers(conversation)))

    def stream(
        self, prompt: Prompt, *, model: str = "coe", conversation: str | None = None, **sampling: Any
    ) -> AsyncStream:
        return AsyncStream(self._http, _stream_body(prompt, model, sampling), _headers(conversation))

    async def route(self, prompt: Prompt, *, model: str = "coe", conversation: str | None = None) -> Decision:
        return _route(await self._post("/v1/route", _chat_body(prompt, model, {}), _headers(conversation)))

    async def experts(self) -> list[ExpertStatus]:
        with _connection_errors():
            return _statuses(_checked(await self._http.get("/admin/experts")))

    async def store(self) -> StoreStatus:
        with _connection_errors():
            return StoreStatus(**_checked(await self._http.get("/admin/store")))

    async def load(self, expert: str) -> ExpertStatus:
        return await self._wish(expert, "load")

    async def unload(self, expert: str) -> ExpertStatus:
        return await self._wish(expert, "unload")

    async def pin(self, expert: str) -> ExpertStatus:
        return await self._wish(expert, "pin")

    async def unpin(self, expert: str) -> ExpertStatus:
        return await self._wish(expert, "unpin")

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _wish(self, expert: str, wish: str) -> ExpertStatus:
        return _status((await self._post(f"/admin/experts/{expert}/{wish}", {}))["expert"])

    async def _post(self, path: str, body: dict[str, Any], headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        with _connection_errors():
            return _checked(await self._http.post(path, json=body, headers=headers))


# -- what is sent


def _chat_body(prompt: Prompt, model: str, sampling: Mapping[str, Any]) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    return {"model": model, "messages": messages, **sampling}


def _stream_body(prompt: Prompt, model: str, sampling: Mapping[str, Any]) -> dict[str, Any]:
    return {**_chat_body(prompt, model, sampling), "stream": True, "stream_options": {"include_usage": True}}


def _headers(conversation: str | None) -> dict[str, str]:
    return {} if conversation is None else {"x-coe-conversation": conversation}


# -- what comes back


class _Reading:
    """A stream's lines, read one by one."""

    def __init__(self) -> None:
        self._choices: dict[int, _ChoiceReading] = {}
        self._coe: dict[str, Any] = {}
        self._usage: dict[str, int] | None = None
        self._is_error = False

    def feed(self, line: str) -> Iterator[str]:
        """Take a line, give the text in it; raises the server's error."""
        if line.startswith("event: error"):
            self._is_error = True
        if not line.startswith("data: ") or line == "data: [DONE]":
            return
        data = json.loads(line.removeprefix("data: "))
        if self._is_error:
            raise error_of(data, 500)
        self._coe = data.get("coe", self._coe)
        self._usage = data.get("usage") or self._usage
        for choice in data["choices"]:
            self._choices.setdefault(choice["index"], _ChoiceReading()).feed(choice)
            if (text := choice["delta"].get("content")) and choice["index"] == 0:
                yield text

    def answer(self) -> Answer:
        choices = [self._choices[index].choice() for index in sorted(self._choices)]
        if not choices or any(choice is None for choice in choices):
            raise CoeError("the stream has not ended; iterate over it first")
        return _made(tuple(choice for choice in choices if choice is not None), self._coe, self._usage)


class _ChoiceReading:
    """One choice of a stream, chunk by chunk."""

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
        logprobs = None if self._logprobs is None else tuple(self._logprobs)
        return None if self._reason is None else Choice("".join(self._pieces), self._reason, logprobs)


def _answer(body: dict[str, Any]) -> Answer:
    return _made(tuple(_choice(choice) for choice in body["choices"]), body["coe"], body["usage"])


def _choice(choice: Mapping[str, Any]) -> Choice:
    logprobs = None if choice["logprobs"] is None else tuple(choice["logprobs"]["content"])
    return Choice(choice["message"]["content"], choice["finish_reason"], logprobs)


def _made(choices: tuple[Choice, ...], coe: dict[str, Any], usage: dict[str, int] | None) -> Answer:
    cost = coe["switch"]
    switch = Switch(
        SwitchKind(cost["kind"]),
        cost["loaded_bytes"],
        cost["load_ms"] / 1e3,
        cost["wait_ms"] / 1e3,
        cost["first_token_ms"] / 1e3,
    )
    counts = None if usage is None else _usage(usage)
    return Answer(choices, _route(coe), Tier(coe["tier"]), counts, switch)


def _usage(each: dict[str, Any]) -> Usage:
    details = each.get("prompt_tokens_details") or {}
    return Usage(each["prompt_tokens"], each["completion_tokens"], details.get("cached_tokens", 0))


def _route(body: dict[str, Any]) -> Decision:
    known = {field.name: body[field.name] for field in fields(Decision) if field.name in body}
    cost = None if body["cost"] is None else _of(CostTerm, body["cost"])
    nearest = tuple(_of(Neighbour, each) for each in body["nearest"])
    return Decision(**{**known, "text": "", "cost": cost, "nearest": nearest})


def _of(kind: type[T], body: Mapping[str, Any]) -> T:
    """The value that a JSON object of the same field names describes; fields of newer servers are left out."""
    return kind(**{field.name: body[field.name] for field in fields(kind)})  # type: ignore[arg-type]


def _statuses(body: dict[str, Any]) -> list[ExpertStatus]:
    return [_status(each) for each in body["experts"]]


def _status(each: dict[str, Any]) -> ExpertStatus:
    known = {field.name: each[field.name] for field in fields(ExpertStatus)}
    units = tuple(UnitStatus(**{**unit, "tier": Tier(unit["tier"])}) for unit in each["units"])
    return ExpertStatus(**{**known, "tier": Tier(each["tier"]), "aliases": tuple(each["aliases"]), "units": units})


# -- errors


class _connection_errors:  # noqa: N801 - used like a function
    """Turns what httpx raises about the connection into a CoeError that says what to do."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(value, httpx.ConnectError):
            url = value.request.url.copy_with(raw_path=b"/")
            raise CoeError(
                f"no server answers at {url} ({value}); start one with `coe serve` or name its URL"
            ) from value
        if isinstance(value, httpx.TimeoutException):
            raise DeadlineError(f"the server did not answer in time ({value!r}); raise timeout_s") from value
        if isinstance(value, httpx.TransportError):
            raise CoeError(f"the connection to the server broke: {value!r}; ask again") from value


def raise_for(response: httpx.Response) -> None:
    """Raise the server's error as the class that it was there."""
    try:
        body = response.json()
    except ValueError:
        body = {}
    raise error_of(body, response.status_code)


def error_of(body: Mapping[str, Any], status: int) -> CoeError:
    """The error in an OpenAI-style body."""
    error = body.get("error") or {"message": f"the server answered {status}", "code": None, "param": None}
    message, code, param = error["message"], error["code"], error["param"]
    if code == "context_length_exceeded":
        return ContextLengthError(message, param=param)
    if code == "model_not_found":
        return UnknownExpertError(message, param=param)
    if status == 400:
        return InvalidRequestError(message, param=param)
    plain: Mapping[str | None, type[CoeError]] = {
        "overloaded": OverloadedError,
        "deadline_exceeded": DeadlineError,
        "shutting_down": ShutdownError,
    }
    return plain.get(code, CoeError)(message)


def _checked(response: httpx.Response) -> dict[str, Any]:
    if response.is_error:
        raise_for(response)
    body: dict[str, Any] = response.json()
    return body
