"""OpenAI's shapes: requests read and checked, and the small objects that answers are made of.

Source: OpenAI's API reference for chat completions, completions, models and errors. Unknown fields are ignored as
OpenAI's own server does; known fields that coe does not support yet are accepted at their neutral value and refused by
name otherwise. Extensions: `top_k`, `min_p`, `repetition_penalty`, `min_tokens` and `ignore_eos` in requests, a `coe`
object in answers. Whole answers and chunks are written in answers.py. Knows nothing about HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from coe.config.schema import COMPOSITION
from coe.errors import InvalidRequestError
from coe.types import (
    CostTerm,
    Decision,
    Finished,
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
    "coe_object",
    "decision_object",
    "error_body",
    "model_object",
    "read",
    "usage_object",
]

# fields that are accepted only at these values; None always is
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "suffix": ("",),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
}
_TokenId = Annotated[int, Field(ge=0)]
_Bias = Annotated[float, Field(ge=-100, le=100)]


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
    n: int | None = Field(None, ge=1, le=128)
    max_tokens: int | None = Field(None, ge=1)
    min_tokens: int | None = Field(None, ge=0)
    ignore_eos: bool | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0)
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0, le=10)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: dict[_TokenId, _Bias] | None = None
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

    @property
    def num_choices(self) -> int:
        return self.n or 1

    @property
    def num_logprobs(self) -> int | None:
        """So many of the likeliest tokens beside each chosen one; None: no log-probabilities at all."""
        raise NotImplementedError

    def sampling(self, max_tokens: int | None) -> Sampling:
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        if len(stop) > 4:
            raise InvalidRequestError(f"stop has {len(stop)} strings; send at most 4", param="stop")
        return Sampling(
            max_tokens=max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            seed=None if self.seed is None else self.seed % (1 << 63),
            stop=stop,
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            logit_bias=self.logit_bias or {},
            min_tokens=self.min_tokens or 0,
            ignore_eos=bool(self.ignore_eos),
            num_logprobs=self.num_logprobs,
        )


class ChatRequest(_Request):
    """POST /v1/chat/completions."""

    messages: list[_Turn] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)

    @property
    def num_logprobs(self) -> int | None:
        if self.top_logprobs is not None and not self.logprobs:
            raise InvalidRequestError("top_logprobs is only allowed when logprobs is true", param="top_logprobs")
        return (self.top_logprobs or 0) if self.logprobs else None

    def generate_request(self, request_id: str, conversation: str | None = None) -> GenerateRequest:
        return GenerateRequest(
            request_id,
            tuple(turn.message() for turn in self.messages),
            expert=self.expert,
            sampling=self.sampling(self.max_completion_tokens or self.max_tokens),
            num_choices=self.num_choices,
            has_tools=bool(self.tools),
            conversation=conversation,
        )


class CompletionRequest(_Request):
    """POST /v1/completions. `prompt` is one string, or a list of one."""

    prompt: str | list[Any]
    max_tokens: int | None = Field(None, ge=0)  # 0: nothing but the prompt, with `echo`
    logprobs: int | None = Field(None, ge=0, le=5)
    echo: bool | None = None
    best_of: int | None = None

    @property
    def num_logprobs(self) -> int | None:
        return self.logprobs

    def generate_request(self, request_id: str, conversation: str | None = None) -> GenerateRequest:
        prompt = self.prompt[0] if isinstance(self.prompt, list) and len(self.prompt) == 1 else self.prompt
        if not isinstance(prompt, str):
            raise InvalidRequestError(
                "prompt must be one string; lists of prompts and token ids are not supported", param="prompt"
            )
        if not prompt:
            raise InvalidRequestError("prompt is empty; write something to continue", param="prompt")
        if self.max_tokens == 0 and not self.echo:
            raise InvalidRequestError("max_tokens = 0 asks for nothing; raise it, or set echo", param="max_tokens")
        if self.best_of not in (None, self.num_choices):
            raise InvalidRequestError(f"best_of = {self.best_of} is not supported; send n alone", param="best_of")
        sampling, scores_prompt = self.sampling(self.max_tokens), bool(self.echo) and self.logprobs is not None
        return GenerateRequest(
            request_id,
            prompt=prompt,
            expert=self.expert,
            sampling=sampling,
            num_choices=self.num_choices,
            scores_prompt=scores_prompt,
            conversation=conversation,
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


# -- objects in answers


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


def usage_object(ends: Sequence[Finished]) -> dict[str, Any]:
    """Tokens of a request: its prompt once, its choices together; cached is what was computed for none of them."""
    prompt = ends[0].usage.prompt_tokens
    completion = sum(end.usage.completion_tokens for end in ends)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": min(end.usage.cached_tokens for end in ends)},
    }


def model_object(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "coe"}


def error_body(message: str, kind: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
