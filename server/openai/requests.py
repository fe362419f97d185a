"""OpenAI's requests for chat completions and completions: read, checked, and turned into a GenerateRequest.

Null stands for a field's default, and -1 turns `top_k` and `max_tokens` off. Unknown fields are refused by name.
OpenAI's fields that change no answer are accepted and ignored; those that coe does not support yet are accepted at
their neutral value and refused by name otherwise. Extensions: `top_k`, `min_p`, `repetition_penalty`, `min_tokens`,
`ignore_eos`, and what template_fields.py reads. Knows nothing about HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, model_validator

from coe.config.schema import COMPOSITION
from coe.errors import InvalidRequestError, shown
from coe.types import GenerateRequest, PromptForm, Sampling
from server.access.caller import ANYBODY, Caller
from server.bodies import refuse_unknown
from server.openai.fields import FromJson, KnownFields
from server.openai.response_format import AskedForm
from server.openai.sampling_fields import NumTokens, SamplingFields, unlimited
from server.openai.template_fields import Effort, prompt_form_of, template_variables_of
from server.openai.tools import ToolField, choice_of, tools_of
from server.openai.turns import Turn, messages_of
from server.openai.wishes import Wishes

__all__ = ["HARMLESS", "NEUTRAL", "ChatRequest", "CompletionRequest"]

# fields that are accepted only at these values, or at None, by requests that do not read them
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "suffix": ("",),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "modalities": (["text"],),
    "function_call": ("none", "auto"),
    "audio": ({},),
    "moderation": (None,),
    "web_search_options": ({},),
}
INSTEAD: Mapping[str, str] = {"functions": "send tools", "function_call": "send tool_choice"}
# OpenAI's fields that ask for nothing that would change an answer: who asks, hints, and what its own server keeps
HARMLESS = frozenset(
    {
        *("metadata", "parallel_tool_calls", "prediction", "prompt_cache_key", "prompt_cache_options"),
        *(
            "prompt_cache_retention",
            "reasoning_effort",
            "safety_identifier",
            "service_tier",
            "store",
            "user",
            "verbosity",
        ),
    }
)
MOST_PROMPTS = 2048

_NumTokensOrNone = Annotated[int, Field(ge=0), BeforeValidator(unlimited)]


class _StreamOptions(KnownFields):
    field_name: ClassVar[str] = "stream_options"

    include_usage: bool = False
    include_obfuscation: bool = False  # OpenAI pads its chunks against guesses from their lengths; not done here


class _Request(FromJson, AskedForm, SamplingFields):
    """The fields that both kinds of request share."""

    model: str = COMPOSITION
    stream: bool = False
    stream_options: _StreamOptions | None = None
    n: int | None = Field(None, ge=1, le=128)
    max_tokens: NumTokens | None = None
    stop: str | list[str] | None = None
    add_special_tokens: bool | None = None
    coe: Wishes = Wishes()

    @model_validator(mode="before")
    @classmethod
    def _refuse_unsupported(cls, raw: Any) -> Any:
        if isinstance(raw, dict):
            refuse_unknown(raw, {*cls.model_fields, *NEUTRAL, *HARMLESS})
            for field, neutral in NEUTRAL.items():
                value = raw.get(field)
                if value is not None and value not in neutral and field not in cls.model_fields:
                    instead = INSTEAD.get(field, "leave it out")
                    instead += "" if neutral[0] is None else f" or send {neutral[0]!r}"
                    raise InvalidRequestError(f"{field} = {shown(value)} is not supported yet; {instead}", param=field)
        return raw

    @property
    def expert(self) -> str | None:
        """The expert that `model` names; None for the composition, whose router chooses one."""
        return self.coe.expert_beside(self.model)

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
        return self.sampled(max_tokens, stop, self.num_logprobs)


class ChatRequest(_Request):
    """POST /v1/chat/completions."""

    messages: list[Turn] = Field(min_length=1)
    max_completion_tokens: NumTokens | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    tools: list[ToolField] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: Effort | None = None
    enable_thinking: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    continue_final_message: bool | None = None
    add_generation_prompt: bool | None = None

    @property
    def num_logprobs(self) -> int | None:
        if self.top_logprobs is not None and not self.logprobs:
            raise InvalidRequestError("top_logprobs is only allowed when logprobs is true", param="top_logprobs")
        return (self.top_logprobs or 0) if self.logprobs else None

    def generate_request(
        self, request_id: str, caller: Caller = ANYBODY, conversation: str | None = None
    ) -> GenerateRequest:
        messages, tools = messages_of(self.messages), tools_of(self.tools)
        return GenerateRequest(
            request_id,
            messages,
            expert=self.expert,
            sampling=self.sampling(self.max_completion_tokens or self.max_tokens),
            grammar=self.grammar(),
            num_choices=self.num_choices,
            conversation=conversation,
            owner=caller.owner,
            prefix_group=caller.prefix_group,
            tools=tools,
            tool_choice=choice_of(self.tool_choice, tools),
            allows_parallel_calls=self.parallel_tool_calls is not False,
            template_variables=template_variables_of(
                self.chat_template_kwargs, self.enable_thinking, self.reasoning_effort
            ),
            prompt_form=prompt_form_of(
                messages, self.continue_final_message, self.add_generation_prompt, self.add_special_tokens
            ),
            **self.coe.asked,
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
                grammar=self.grammar(),
                num_choices=self.num_choices,
                scores_prompt=scores_prompt,
                conversation=conversation,
                owner=caller.owner,
                prefix_group=caller.prefix_group,
                prompt_form=PromptForm(adds_special_tokens=self.add_special_tokens),
                **self.coe.asked,
            )
            for number, (prompt, text) in enumerate(zip(self.prompts, texts, strict=True))
        ]


def _is_tokens(prompt: Any) -> bool:
    """Return whether a JSON value is a list of token ids; an empty list is not."""
    return isinstance(prompt, list) and bool(prompt) and all(type(each) is int and each >= 0 for each in prompt)
