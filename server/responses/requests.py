"""Requests for OpenAI's responses: read, checked, and turned into a GenerateRequest.

Unknown fields are refused by name; those that change no answer are ignored, and those of what runs on OpenAI's own
servers are refused unless they ask for nothing. Beside its sampling fields stand those of chat and coe's. Knows nothing
about HTTP, nor about which responses are kept.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from coe.config.schema import COMPOSITION
from coe.errors import InvalidRequestError, shown
from coe.types import GenerateRequest, Grammar, Sampling, Tool
from server.access.caller import ANYBODY, Caller
from server.bodies import validated
from server.openai.fields import FromJson, KnownFields
from server.openai.sampling_fields import NumTokens, SamplingFields
from server.openai.template_fields import Effort, template_variables_of
from server.openai.tools import TOOL_NAME, checked, choice_of
from server.openai.wishes import Wishes
from server.responses.items import Item, messages_of

__all__ = ["HARMLESS_FOR_RESPONSES", "NEUTRAL_FOR_RESPONSES", "ResponseRequest"]

HARMLESS_FOR_RESPONSES = frozenset(
    {
        *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "safety_identifier", "service_tier"),
        *("stream_options", "user"),
    }
)
# fields that are accepted only at these values, or at None
NEUTRAL_FOR_RESPONSES: Mapping[str, tuple[Any, ...]] = {
    "background": (False,),
    "context_management": ([],),
    "conversation": (None,),
    "max_tool_calls": (None,),
    "moderation": (None,),
    "prompt": (None,),
    "truncation": ("disabled",),
}
LOGPROBS = "message.output_text.logprobs"


class FunctionTool(FromJson):
    """One function that the model may call."""

    type: str
    name: str = Field(pattern=TOOL_NAME)
    description: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)
    strict: bool = False

    @model_validator(mode="before")
    @classmethod
    def _refuse_other_types(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and raw.get("type") != "function":
            raise InvalidRequestError(
                f"tools has a tool of type {shown(raw.get('type'))}; only tools of type 'function' are supported",
                param="tools",
            )
        return raw


class TextFormat(KnownFields):
    """The form that the answer must have."""

    field_name: ClassVar[str] = "text"

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    strict: bool | None = None
    schema_: dict[str, Any] = Field(default_factory=dict, alias="schema")


class TextField(KnownFields):
    field_name: ClassVar[str] = "text"
    harmless: ClassVar[Collection[str]] = ("verbosity",)

    format: TextFormat | None = None


class ReasoningField(KnownFields):
    """How long to think. Thoughts are shown whole, so a summary of them changes nothing."""

    field_name: ClassVar[str] = "reasoning"
    harmless: ClassVar[Collection[str]] = ("context", "generate_summary", "mode", "summary")

    effort: Effort | None = None


class ResponseRequest(KnownFields, SamplingFields):
    """POST /v1/responses. `input` is a text or a list of items."""

    harmless: ClassVar[Collection[str]] = HARMLESS_FOR_RESPONSES
    neutral: ClassVar[Mapping[str, tuple[Any, ...]]] = NEUTRAL_FOR_RESPONSES

    model: str = COMPOSITION
    input: str | list[Item] = Field(min_length=1)
    instructions: str | None = None
    previous_response_id: str | None = None
    store: bool = True
    max_output_tokens: NumTokens | None = None
    tools: list[FunctionTool] = Field(default_factory=list)
    tool_choice: str | dict[str, Any] = "auto"
    parallel_tool_calls: bool = True
    text: TextField = TextField()
    reasoning: ReasoningField = ReasoningField()
    include: list[str] = Field(default_factory=list)
    top_logprobs: int | None = Field(None, ge=0, le=20)
    metadata: dict[str, str] = Field(default_factory=dict)
    stream: bool = False
    coe: Wishes = Wishes()

    @property
    def num_logprobs(self) -> int | None:
        return (self.top_logprobs or 0) if LOGPROBS in self.include or self.top_logprobs else None

    def sampling(self) -> Sampling:
        return self.sampled(self.max_output_tokens, (), self.num_logprobs)

    def generate_request(
        self,
        request_id: str,
        before: Sequence[Mapping[str, Any]] = (),
        caller: Caller = ANYBODY,
        conversation: str | None = None,
    ) -> GenerateRequest:
        """Return the request; `before` are the items of the response that it goes on with."""
        own = [Item(role="user", content=self.input)] if isinstance(self.input, str) else self.input
        items = [*(validated(Item, dict(each)) for each in before), *own]
        tools = checked([Tool(each.name, each.description, each.parameters, each.strict) for each in self.tools])
        return GenerateRequest(
            request_id,
            messages_of(self.instructions, items),
            expert=self.coe.expert_beside(self.model),
            sampling=self.sampling(),
            grammar=_grammar(self.text.format),
            conversation=conversation,
            owner=caller.owner,
            prefix_group=caller.prefix_group,
            tools=tools,
            tool_choice=choice_of(self.tool_choice, tools),
            allows_parallel_calls=self.parallel_tool_calls,
            template_variables=template_variables_of(None, None, self.reasoning.effort),
            **self.coe.asked,
        )


def _grammar(asked: TextFormat | None) -> Grammar | None:
    if asked is None or asked.type == "text":
        return None
    if asked.type == "json_schema":
        return Grammar("json_schema", json.dumps(asked.schema_))
    return Grammar("json_object")
