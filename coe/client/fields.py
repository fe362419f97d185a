"""The fields of a request that users of the client write as keyword arguments, with their types.

For type checkers alone: the client sends what it is given, and the server says what is wrong with it. `extra_body` has
further fields, which are sent beside the others. Knows nothing about defaults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

__all__ = ["ChatFields", "CompletionFields", "SamplingFields"]


class SamplingFields(TypedDict, total=False):
    """How to answer."""

    max_tokens: int | None
    min_tokens: int | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    min_p: float | None
    seed: int | None
    stop: str | Sequence[str] | None
    n: int | None
    presence_penalty: float | None
    frequency_penalty: float | None
    repetition_penalty: float | None
    logit_bias: Mapping[str, float] | None
    ignore_eos: bool | None
    coe: Mapping[str, Any] | None
    extra_body: Mapping[str, Any] | None


class ChatFields(SamplingFields, total=False):
    """How to answer a conversation; `tools`, `tool_choice` and `response_format` are OpenAI's objects."""

    max_completion_tokens: int | None
    logprobs: bool | None
    top_logprobs: int | None
    tools: Sequence[Mapping[str, Any]] | None
    tool_choice: Literal["none", "auto", "required"] | Mapping[str, Any] | None
    parallel_tool_calls: bool | None
    response_format: Mapping[str, Any] | None
    reasoning_effort: str | None
    enable_thinking: bool | None
    chat_template_kwargs: Mapping[str, Any] | None


class CompletionFields(SamplingFields, total=False):
    """How to continue a text."""

    logprobs: int | None
    echo: bool | None
