"""Anthropic's requests for messages and for counts of tokens: read, checked, and turned into a GenerateRequest.

Unknown fields are refused by name; Anthropic's fields that change no answer are ignored, and those of what runs on its
own servers are refused unless they ask for nothing. Beside its sampling fields stand OpenAI's and coe's. Knows nothing
about HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from coe.config.schema import COMPOSITION
from coe.types import GenerateRequest, Grammar, Sampling
from server.access.caller import ANYBODY, Caller
from server.anthropic.tools import ChoiceField, ToolField, tool_choice_of, tools_of
from server.anthropic.turns import Block, Turn, messages_of
from server.openai.fields import KnownFields
from server.openai.sampling_fields import NumTokens, SamplingFields
from server.openai.template_fields import prompt_form_of, template_variables_of
from server.openai.wishes import Wishes

__all__ = ["HARMLESS_FOR_MESSAGES", "NEUTRAL_FOR_MESSAGES", "CountRequest", "MessageRequest"]

# who asks, hints, and where or how fast Anthropic would answer
HARMLESS_FOR_MESSAGES = frozenset(
    {
        *("cache_control", "diagnostics", "inference_geo", "metadata", "service_tier", "speed"),
        *("user_profile_id", "workspace_id"),
    }
)
# fields that are accepted only at these values, or at None
NEUTRAL_FOR_MESSAGES: Mapping[str, tuple[Any, ...]] = {
    "container": ({},),
    "context_management": ({}, {"edits": []}),
    "mcp_servers": ([],),
}


class ThinkingField(KnownFields):
    """Whether the model thinks first. A budget is no limit here; `max_tokens` is."""

    field_name: ClassVar[str] = "thinking"

    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: int | None = Field(None, ge=1)
    display: Literal["summarized", "omitted"] = "summarized"


class FormatField(KnownFields):
    """The form that the answer must have."""

    field_name: ClassVar[str] = "output_config"

    type: Literal["json_schema"]
    schema_: dict[str, Any] = Field(alias="schema")


class OutputConfig(KnownFields):
    """How much effort to make, and the form of the answer."""

    field_name: ClassVar[str] = "output_config"

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: FormatField | None = None


class _Conversation(KnownFields):
    """The fields that make up a prompt."""

    harmless: ClassVar[Collection[str]] = HARMLESS_FOR_MESSAGES
    neutral: ClassVar[Mapping[str, tuple[Any, ...]]] = NEUTRAL_FOR_MESSAGES

    model: str = COMPOSITION
    messages: list[Turn] = Field(min_length=1)
    system: str | list[Block] | None = None
    tools: list[ToolField] | None = None
    tool_choice: ChoiceField | None = None
    thinking: ThinkingField | None = None
    output_config: OutputConfig | None = None
    coe: Wishes = Wishes()

    @property
    def hides_thoughts(self) -> bool:
        return self.thinking is not None and self.thinking.display == "omitted"

    def sampling(self) -> Sampling:
        return Sampling()

    def generate_request(
        self, request_id: str, caller: Caller = ANYBODY, conversation: str | None = None
    ) -> GenerateRequest:
        """Return the request; a last turn of the assistant's is gone on with."""
        messages, tools = messages_of(self.system, self.messages), tools_of(self.tools)
        last, choice, output = messages[-1], self.tool_choice, self.output_config or OutputConfig()
        goes_on = last.role == "assistant" and not last.tool_calls
        return GenerateRequest(
            request_id,
            messages,
            expert=self.coe.expert_beside(self.model),
            sampling=self.sampling(),
            grammar=Grammar("json_schema", json.dumps(output.format.schema_)) if output.format else None,
            conversation=conversation,
            owner=caller.owner,
            prefix_group=caller.prefix_group,
            tools=tools,
            tool_choice=tool_choice_of(choice, tools),
            allows_parallel_calls=choice is None or not choice.disable_parallel_tool_use,
            template_variables=template_variables_of(None, _thinks(self.thinking), output.effort),
            prompt_form=prompt_form_of(messages, goes_on or None, None, None),
            **self.coe.asked,
        )


class MessageRequest(_Conversation, SamplingFields):
    """POST /v1/messages."""

    max_tokens: NumTokens
    stop_sequences: list[str] | None = None
    stream: bool = False

    def sampling(self) -> Sampling:
        return self.sampled(self.max_tokens, self.stop_sequences or ())


class CountRequest(_Conversation):
    """POST /v1/messages/count_tokens."""


def _thinks(thinking: ThinkingField | None) -> bool | None:
    """Return whether the template is told to let the model think; None leaves it to the template."""
    return None if thinking is None or thinking.type == "adaptive" else thinking.type == "enabled"
