"""OpenAI's shapes: requests read and checked, answers and errors written. They live here and nowhere else.

Source: OpenAI's API reference for chat completions, completions, models and errors. Unknown fields are ignored as
OpenAI's own server does; known fields that coe does not support yet are accepted at their neutral value and refused by
name otherwise. Extensions: `top_k` in requests, a `coe` object in answers. Knows nothing about HTTP.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from coe.config import COMPOSITION
from coe.errors import InvalidRequestError
from coe.types import (
    CostTerm,
    Decision,
    Finished,
    FinishReason,
    GenerateRequest,
    Message,
    Neighbour,
    Routed,
    RouteQuery,
    Sampling,
    Switch,
)

__all__ = [
    "ChatRequest",
    "CompletionRequest",
    "RouteRequest",
    "chat_chunk",
    "chat_completion",
    "coe_object",
    "completion_chunk",
    "error_body",
    "model_object",
    "read",
    "text_completion",
    "usage_chunk",
]

# fields that are accepted only at these values; None always is
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "logprobs": (False, 0),
    "top_logprobs": (0,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
}


class _Part(BaseModel):
    type: str
    text: str | None = None


class _Turn(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part]

    def message(self) -> Message:
        role = "system" if self.role == "developer" else self.role
        return Message(role, self.content if isinstance(self.content, str) else _joined(self.content))


def _joined(parts: list[_Part]) -> str:
    for part in parts:
        if part.type != "text" or part.text is None:
            raise InvalidRequestError(
                f"content part of type '{part.type}' is not supported; send parts of type 'text'", param="messages"
            )
    return "".join(part.text or "" for part in parts)


class _StreamOptions(BaseModel):
    include_usage: bool = False


class _Request(BaseModel):
    """What both kinds of request share."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    model: str = COMPOSITION
    stream: bool = False
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: str | list[str] | None = None
    tools: list[Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_unsupported(cls, raw: Any) -> Any:
        if isinstance(raw, dict):
            for field, neutral in _NEUTRAL.items():
                value = raw.get(field)
                if value is not None and value not in neutral:
                    raise InvalidRequestError(
                        f"{field} = {value!r} is not supported yet; leave it out or send {neutral[0]!r}", param=field
                    )
        return raw

    @property
    def expert(self) -> str | None:
        """The expert that `model` names; None for the composition, which routes."""
        return None if self.model.lower() == COMPOSITION else self.model

    @property
    def includes_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage

    def sampling(self, max_tokens: int | None) -> Sampling:
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        if len(stop) > 4:
            raise InvalidRequestError(f"stop has {len(stop)} strings; send at most 4", param="stop")
        seed = None if self.seed is None else self.seed % (1 << 63)
        return Sampling(max_tokens, self.temperature, self.top_p, self.top_k, seed, stop)


class ChatRequest(_Request):
    """POST /v1/chat/completions."""

    messages: list[_Turn] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)

    def generate_request(self, request_id: str, conversation: str | None = None) -> GenerateRequest:
        return GenerateRequest(
            request_id,
            messages=tuple(turn.message() for turn in self.messages),
            expert=self.expert,
            sampling=self.sampling(self.max_completion_tokens or self.max_tokens),
            has_tools=bool(self.tools),
            conversation=conversation,
        )


class CompletionRequest(_Request):
    """POST /v1/completions. `prompt` is one string, or a list of one."""

    prompt: str | list[Any]

    def generate_request(self, request_id: str, conversation: str | None = None) -> GenerateRequest:
        prompt = self.prompt[0] if isinstance(self.prompt, list) and len(self.prompt) == 1 else self.prompt
        if not isinstance(prompt, str):
            raise InvalidRequestError(
                "prompt must be one string; lists of prompts and token ids are not supported", param="prompt"
            )
        if not prompt:
            raise InvalidRequestError("prompt is empty; write something to continue", param="prompt")
        sampling = self.sampling(self.max_tokens)
        return GenerateRequest(
            request_id, prompt=prompt, expert=self.expert, sampling=sampling, conversation=conversation
        )


class RouteRequest(BaseModel):
    """POST /v1/route: who would answer, without answering."""

    model: str = COMPOSITION
    prompt: str | None = None
    messages: list[_Turn] = []
    tools: list[Any] | None = None

    def query(self, conversation: str | None = None) -> RouteQuery:
        if self.prompt is None and not self.messages:
            raise InvalidRequestError("send prompt or messages", param="prompt")
        messages = tuple(turn.message() for turn in self.messages) or (Message("user", self.prompt or ""),)
        expert = None if self.model.lower() == COMPOSITION else self.model
        return RouteQuery(messages, expert, bool(self.tools), conversation, only_explains=True)


_Read = TypeVar("_Read", bound=BaseModel)


def read(kind: type[_Read], body: Any) -> _Read:
    """Return the request in a JSON body; raises InvalidRequestError naming the first wrong field."""
    if not isinstance(body, dict):
        raise InvalidRequestError(f"the body must be a JSON object, not {type(body).__name__}")
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = f"{where or 'body'}: {first['msg']}" + (f" (got {_short(first['input'])})" if first["loc"] else "")
        raise InvalidRequestError(message, param=str(first["loc"][0]) if first["loc"] else None) from error


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


# -- answers


def coe_object(routed: Routed, switch: Switch | None = None) -> dict[str, Any]:
    """Who answered and why; with `switch`, what it cost."""
    decision = routed.decision
    described: dict[str, Any] = {**decision_object(decision), "tier": str(routed.tier)}
    if switch is not None:
        described["switch"] = {
            "kind": str(switch.kind),
            "loaded_bytes": switch.loaded_bytes,
            "load_ms": round(switch.load_s * 1e3, 3),
            "wait_ms": round(switch.wait_s * 1e3, 3),
            "first_token_ms": round(switch.first_token_s * 1e3, 3),
        }
    return described


def decision_object(decision: Decision) -> dict[str, Any]:
    """The whole decision: who, what the classifier said, what decided, and the training prompts that are nearest."""
    ranked = sorted(decision.probabilities.items(), key=lambda item: -item[1])
    return {
        "expert": decision.expert,
        "category": decision.category,
        "confidence": _rounded(decision.confidence),
        "why": decision.why,
        "because": decision.because,
        "rule": decision.rule,
        "instead_of": decision.instead_of,
        "cost": None if decision.cost is None else _cost_object(decision.cost),
        "probabilities": {category: _rounded(probability) for category, probability in ranked},
        "nearest": [_neighbour_object(neighbour) for neighbour in decision.nearest],
    }


def _cost_object(cost: CostTerm) -> dict[str, Any]:
    return {
        "epsilon": cost.epsilon,
        "mapped": cost.mapped,
        "mapped_score": cost.mapped_score,
        "chosen": cost.chosen,
        "chosen_score": cost.chosen_score,
        "missing_bytes": cost.missing_bytes,
    }


def _neighbour_object(neighbour: Neighbour) -> dict[str, Any]:
    return {
        "id": neighbour.id,
        "source": neighbour.source,
        "category": neighbour.category,
        "license": neighbour.license,
        "cosine": _rounded(neighbour.cosine),
        "text": neighbour.text,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def chat_completion(request_id: str, routed: Routed, text: str, end: Finished) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": str(end.reason)}
    return _whole("chat.completion", f"chatcmpl-{request_id}", routed, choice, end)


def text_completion(request_id: str, routed: Routed, text: str, end: Finished) -> dict[str, Any]:
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": str(end.reason)}
    return _whole("text_completion", f"cmpl-{request_id}", routed, choice, end)


def chat_chunk(
    request_id: str, routed: Routed, delta: Mapping[str, str], reason: FinishReason | None = None
) -> dict[str, Any]:
    choice = {"index": 0, "delta": dict(delta), "logprobs": None, "finish_reason": _text(reason)}
    return _chunk("chat.completion.chunk", f"chatcmpl-{request_id}", routed, [choice])


def completion_chunk(
    request_id: str, routed: Routed, delta: Mapping[str, str], reason: FinishReason | None = None
) -> dict[str, Any]:
    choice = {"index": 0, "text": delta.get("content", ""), "logprobs": None, "finish_reason": _text(reason)}
    return _chunk("text_completion", f"cmpl-{request_id}", routed, [choice])


def usage_chunk(chunk: Mapping[str, Any], end: Finished) -> dict[str, Any]:
    """The extra last chunk of a stream that asked for usage: no choices."""
    return {**chunk, "choices": [], "usage": _usage(end)}


def _whole(kind: str, answer_id: str, routed: Routed, choice: dict[str, Any], end: Finished) -> dict[str, Any]:
    head = _chunk(kind, answer_id, routed, [choice])
    return {**head, "usage": _usage(end), "coe": coe_object(routed, end.switch)}


def _chunk(kind: str, answer_id: str, routed: Routed, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": answer_id,
        "object": kind,
        "created": int(time.time()),
        "model": routed.decision.expert,
        "choices": choices,
    }


def _usage(end: Finished) -> dict[str, int]:
    prompt, completion = end.usage.prompt_tokens, end.usage.completion_tokens
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _text(reason: FinishReason | None) -> str | None:
    return None if reason is None else str(reason)


def model_object(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "coe"}


def error_body(message: str, kind: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
