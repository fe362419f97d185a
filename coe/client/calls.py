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
    answers_status_from,
    decision_from,
    expert_status_from,
    expert_statuses_from,
    store_status_from,
    whole_answer_from,
)
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
    "experts",
    "headers",
    "key_headers",
    "route",
    "store",
]

CHAT = "/v1/chat/completions"
API_KEY = "COE_API_KEY"  # not OPENAI_API_KEY: that one is a secret between the user and somebody else
Prompt = str | Sequence[Mapping[str, str]]  # a user's turn, or a conversation of {role, content}
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


def chat(prompt: Prompt, model: str, conversation: str | None, sampling: Mapping[str, Any]) -> Call[Answer]:
    return Call("POST", CHAT, whole_answer_from, chat_body(prompt, model, sampling), headers(conversation))


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


def chat_body(prompt: Prompt, model: str, sampling: Mapping[str, Any], *, stream: bool = False) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    streamed = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    return {"model": model, "messages": messages, **sampling, **streamed}


def headers(conversation: str | None) -> dict[str, str]:
    return {} if conversation is None else {"x-coe-conversation": conversation}


def key_headers(api_key: str | None) -> dict[str, str]:
    """Return the header with a key, or with the environment's; none without either."""
    secret = os.environ.get(API_KEY) if api_key is None else api_key
    return {"authorization": f"Bearer {secret}"} if secret else {}
