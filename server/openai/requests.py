"""OpenAI's requests for chat completions and completions: read, checked, and turned into a GenerateRequest.

Null stands for a field's default, and -1 turns `top_k` and `max_tokens` off. Unknown fields are refused by name.
OpenAI's fields that change no answer are accepted and ignored; those that coe does not support yet are accepted at
their neutral value and refused by name otherwise. Extensions: `top_k`, `min_p`, `repetition_penalty`, `min_tokens` and
`ignore_eos`. Knows nothing about HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from coe.config.schema import COMPOSITION
from coe.errors import InvalidRequestError, shown
from coe.types import GenerateRequest, Message, Sampling
from server.access.caller import ANYBODY, Caller
from server.bodies import refuse_unknown

__all__ = ["HARMLESS", "NEUTRAL", "ChatRequest", "CompletionRequest", "FromJson", "Turn"]

# fields that are accepted only at these values, or at None
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "suffix": ("",),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "function_call": ("none", "auto"),
    "audio": ({},),
    "web_search_options": ({},),
}
# OpenAI's fields that ask for nothing that would change an answer: who asks, hints, and what its own server keeps
HARMLESS = frozenset(
    {
        *("metadata", "parallel_tool_calls", "prediction", "prompt_cache_key", "prompt_cache_retention"),
        *("reasoning_effort", "safety_identifier", "service_tier", "store", "user", "verbosity"),
    }
)
_OF_A_TURN = ("tool_calls", "function_call")  # that no template is given yet
_HARMLESS_IN_A_TURN = frozenset({"name", "refusal", "annotations", "audio"})
MOST_PROMPTS = 2048
UNLIMITED = 2**31 - 1  # tokens; the expert's context is the limit


def _unlimited(value: Any) -> Any:
    return UNLIMITED if value == -1 else value


_TokenId = Annotated[int, Field(ge=0)]
_Bias = Annotated[float, Field(ge=-100, le=100)]
_NumTokens = Annotated[int, Field(ge=1), BeforeValidator(_unlimited)]
_NumTokensOrNone = Annotated[int, Field(ge=0), BeforeValidator(_unlimited)]


class FromJson(BaseModel):
    """A JSON object of a request: null stands for a field's default."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _take_null_for_the_default(cls, raw: Any) -> Any:
        return {name: value for name, value in raw.items() if value is not None} if isinstance(raw, dict) else raw


class _ContentPart(BaseModel):
    type: str
    text: str | None = None


class Turn(BaseModel):
    """One message of a conversation; its content is a text, a list of parts of type `text`, or null: no text."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_ContentPart] | None

    @model_validator(mode="before")
    @classmethod
    def _refuse_unsupported(cls, raw: Any) -> Any:
        if isinstance(raw, dict):
            refuse_unknown(raw, {*cls.model_fields, *_OF_A_TURN, *_HARMLESS_IN_A_TURN}, "messages")
            for name in _OF_A_TURN:
                if raw.get(name):
                    raise InvalidRequestError(
                        f"{name} in messages is not supported yet; leave it out", param="messages"
                    )
        return raw

    def message(self) -> Message:
        role = "system" if self.role == "developer" else self.role
        return Message(role, _joined(self.content) if isinstance(self.content, list) else self.content or "")


def _joined(parts: list[_ContentPart]) -> str:
    for part in parts:
        if part.type != "text" or part.text is None:
            raise InvalidRequestError(
                f"content part of type {shown(part.type)} is not supported; send parts of type 'text'", param="messages"
            )
    return "".join(part.text or "" for part in parts)


class _StreamOptions(FromJson):
    include_usage: bool = False
    include_obfuscation: bool = False  # OpenAI pads its chunks against guesses from their lengths; not done here

    @model_validator(mode="before")
    @classmethod
    def _refuse_unsupported(cls, raw: Any) -> Any:
        if isinstance(raw, dict):
            refuse_unknown(raw, cls.model_fields, "stream_options")
        return raw


class _Request(FromJson):
    """The fields that both kinds of request share."""

    model: str = COMPOSITION
    stream: bool = False
    stream_options: _StreamOptions | None = None
    n: int | None = Field(None, ge=1, le=128)
    max_tokens: _NumTokens | None = None
    min_tokens: int | None = Field(None, ge=0)
    ignore_eos: bool | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1)
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
            refuse_unknown(raw, {*cls.model_fields, *NEUTRAL, *HARMLESS})
            for field, neutral in NEUTRAL.items():
                value = raw.get(field)
                if value is not None and value not in neutral:
                    raise InvalidRequestError(
                        f"{field} = {shown(value)} is not supported yet; leave it out or send {neutral[0]!r}",
                        param=field,
                    )
        return raw

    @property
    def expert(self) -> str | None:
        """The expert that `model` names; None for the composition, whose router chooses one."""
        return None if self.model.lower() == COMPOSITION else self.model

    @property
    def includes_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def num_choices(self) -> int:
        return self.n or 1

    @property
    def num_logprobs(self) -> int | None:
        """How many of the likeliest tokens are shown beside each chosen one; None: no log-probabilities at all."""
        raise NotImplementedError

    def sampling(self, max_tokens: int | None) -> Sampling:
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        if len(stop) > 4:
            raise InvalidRequestError(f"stop has {len(stop)} strings; send at most 4", param="stop")
        return Sampling(
            max_tokens=max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=0 if self.top_k == -1 else self.top_k,
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

    messages: list[Turn] = Field(min_length=1)
    max_completion_tokens: _NumTokens | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)

    @property
    def num_logprobs(self) -> int | None:
        if self.top_logprobs is not None and not self.logprobs:
            raise InvalidRequestError("top_logprobs is only allowed when logprobs is true", param="top_logprobs")
        return (self.top_logprobs or 0) if self.logprobs else None

    def generate_request(
        self, request_id: str, caller: Caller = ANYBODY, conversation: str | None = None
    ) -> GenerateRequest:
        return GenerateRequest(
            request_id,
            tuple(turn.message() for turn in self.messages),
            expert=self.expert,
            sampling=self.sampling(self.max_completion_tokens or self.max_tokens),
            num_choices=self.num_choices,
            has_tools=bool(self.tools),
            conversation=conversation,
            owner=caller.owner,
            prefix_group=caller.prefix_group,
        )


_TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
_TOKENS: dict[str, Any] = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_PROMPT: dict[str, Any] = {"anyOf": [_TEXT, _TOKENS]}
_PROMPTS: dict[str, Any] = {"type": "array", "items": _PROMPT, "minItems": 1, "maxItems": MOST_PROMPTS}


class CompletionRequest(_Request):
    """POST /v1/completions. `prompt` is a string, a list of token ids, or a list of either."""

    prompt: str | list[Any] = Field(json_schema_extra={"anyOf": [*_PROMPT["anyOf"], _PROMPTS]})
    max_tokens: _NumTokensOrNone | None = None  # 0 with `echo`: nothing but the prompt
    logprobs: int | None = Field(None, ge=0, le=5)
    echo: bool | None = None
    best_of: int | None = None

    @property
    def num_logprobs(self) -> int | None:
        return self.logprobs

    @property
    def prompts(self) -> tuple[str | tuple[int, ...], ...]:
        """Each prompt, a text or token ids, in order; raises InvalidRequestError for what is neither, or empty."""
        is_one = isinstance(self.prompt, str) or _is_tokens(self.prompt)
        each_prompt = [self.prompt] if is_one else self.prompt
        if len(each_prompt) > MOST_PROMPTS:
            raise InvalidRequestError(
                f"prompt is a list of {len(each_prompt):,}; send at most {MOST_PROMPTS:,} at once", param="prompt"
            )
        for each in each_prompt:
            if not isinstance(each, str) and not _is_tokens(each):
                raise InvalidRequestError(
                    f"prompt has {shown(each)}; send a string, a list of token ids, or a list of either", param="prompt"
                )
        if not each_prompt or not all(each_prompt):
            raise InvalidRequestError("prompt is empty; write something to continue", param="prompt")
        return tuple(each if isinstance(each, str) else tuple(each) for each in each_prompt)

    def generate_requests(
        self,
        request_id: str,
        texts: Sequence[str],
        caller: Caller = ANYBODY,
        conversation: str | None = None,
    ) -> list[GenerateRequest]:
        """Return a request for each prompt; `texts` are the prompts with token ids as text."""
        if self.max_tokens == 0 and not self.echo:
            raise InvalidRequestError("max_tokens = 0 asks for nothing; raise it, or set echo", param="max_tokens")
        if self.best_of not in (None, self.num_choices):
            raise InvalidRequestError(f"best_of = {self.best_of} is not supported; send n alone", param="best_of")
        sampling, scores_prompt = self.sampling(self.max_tokens), bool(self.echo) and self.logprobs is not None
        return [
            GenerateRequest(
                f"{request_id}.{number}" if number else request_id,
                prompt=text,
                prompt_ids=() if isinstance(prompt, str) else prompt,
                expert=self.expert,
                sampling=sampling,
                num_choices=self.num_choices,
                scores_prompt=scores_prompt,
                conversation=conversation,
                owner=caller.owner,
                prefix_group=caller.prefix_group,
            )
            for number, (prompt, text) in enumerate(zip(self.prompts, texts, strict=True))
        ]


def _is_tokens(prompt: Any) -> bool:
    """Return whether a JSON value is a list of token ids; an empty list is not."""
    return isinstance(prompt, list) and bool(prompt) and all(type(each) is int and each >= 0 for each in prompt)
