"""Every request of the client as a value: method, path, body, headers, and how the JSON that comes back is read.

Written once for both clients, which only send them. Knows nothing about connections.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from coe.client.answers import (
    Answer,
    Completions,
    Embeddings,
    answers_status_from,
    completion_from,
    completions_from,
    decision_from,
    embeddings_from,
    expert_status_from,
    expert_statuses_from,
    store_status_from,
    whole_answer_from,
)
from coe.client.errors import reading
from coe.errors import ConfigError
from coe.statuses import AnswersStatus, ExpertStatus, StoreStatus
from coe.types import Decision

__all__ = [
    "CHAT",
    "Call",
    "Command",
    "Prompt",
    "answers",
    "chat",
    "chat_body",
    "clear_answers",
    "command",
    "completion",
    "completions",
    "embeddings",
    "experts",
    "headers",
    "key_headers",
    "models",
    "root_of",
    "route",
    "store",
]

CHAT = "/v1/chat/completions"
API_KEY = "COE_API_KEY"  # not OPENAI_API_KEY: that one is a secret between the user and somebody else
Prompt = str | Sequence[Mapping[str, Any]]  # a user's turn, or a conversation of OpenAI's messages
Command = Literal["load", "unload", "pin", "unpin"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request, and `read`, which makes a value of the JSON in its answer."""

    method: Literal["GET", "POST"]
    path: str
    read: Callable[[Mapping[str, Any]], T]
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def value_in(self, body: Mapping[str, Any]) -> T:
        """Return the value in the answer; raises CoeError for one of another server, or of another version."""
        with reading(self.path):
            return self.read(body)


def chat(prompt: Prompt, model: str, conversation: str | None, fields: Mapping[str, Any]) -> Call[Answer]:
    return Call("POST", CHAT, whole_answer_from, chat_body(prompt, model, fields), headers(conversation))


def completion(prompt: str | Sequence[int], model: str, fields: Mapping[str, Any]) -> Call[Answer]:
    return Call("POST", "/v1/completions", completion_from, {"model": model, "prompt": prompt, **_flat(fields)})


def completions(
    prompts: Sequence[str] | Sequence[Sequence[int]], model: str, fields: Mapping[str, Any]
) -> Call[Completions]:
    body = {"model": model, "prompt": list(prompts), **_flat(fields)}
    return Call("POST", "/v1/completions", completions_from, body)


def embeddings(texts: str | Sequence[str], model: str, dimensions: int | None) -> Call[Embeddings]:
    size = {} if dimensions is None else {"dimensions": dimensions}
    listed = [texts] if isinstance(texts, str) else list(texts)
    body = {"model": model, "input": listed, "encoding_format": "base64", **size}
    return Call("POST", "/v1/embeddings", embeddings_from, body)


def models() -> Call[list[str]]:
    return Call("GET", "/v1/models", lambda body: [model["id"] for model in body["data"]])


def route(prompt: Prompt, model: str, conversation: str | None) -> Call[Decision]:
    return Call("POST", "/v1/route", decision_from, chat_body(prompt, model, {}), headers(conversation))


def experts() -> Call[list[ExpertStatus]]:
    return Call("GET", "/admin/experts", expert_statuses_from)


def answers() -> Call[AnswersStatus]:
    return Call("GET", "/admin/answers", answers_status_from)


def clear_answers() -> Call[int]:
    """Forget every kept answer; the answer is how many there were."""
    return Call("POST", "/admin/answers/clear", lambda body: int(body["num_cleared"]), {})


def store() -> Call[StoreStatus]:
    return Call("GET", "/admin/store", store_status_from)


def command(expert: str, verb: Command) -> Call[ExpertStatus]:
    """An operator's command to one expert; the answer is where it is afterwards."""
    return Call("POST", f"/admin/experts/{expert}/{verb}", lambda body: expert_status_from(body["expert"]), {})


def chat_body(prompt: Prompt, model: str, fields: Mapping[str, Any], *, stream: bool = False) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    streamed = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    return {"model": model, "messages": messages, **_flat(fields), **streamed}


def headers(conversation: str | None) -> dict[str, str]:
    return {} if conversation is None else {"x-coe-conversation": conversation}


def root_of(base_url: str) -> str:
    """Return a server's URL without a `/v1` at its end, which OpenAI's clients want; raises ConfigError for no URL."""
    if not base_url.startswith(("http://", "https://")):
        raise ConfigError(f"base_url = {base_url!r} is no URL of a server; write one such as http://127.0.0.1:8000")
    return base_url.rstrip("/").removesuffix("/v1").rstrip("/")


def key_headers(api_key: str | None) -> dict[str, str]:
    """Return the header with a key, or with the environment's; none without either."""
    secret = os.environ.get(API_KEY) if api_key is None else api_key
    return {"authorization": f"Bearer {secret}"} if secret else {}


def _flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a body, those of `extra_body` beside the others."""
    named = {name: value for name, value in fields.items() if name != "extra_body"}
    return {**named, **(fields.get("extra_body") or {})}
