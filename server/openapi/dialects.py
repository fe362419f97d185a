"""The shapes of answers in Anthropic's dialect and of OpenAI's responses, for the document alone.

Extra fields are allowed everywhere, as clients should expect.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from server.openapi.answers import Coe

__all__ = [
    "AnthropicCount",
    "AnthropicError",
    "AnthropicMessage",
    "InputItems",
    "Response",
    "ResponseDeleted",
]


class AnthropicErrorObject(BaseModel):
    type: str
    message: str = Field(description="what is wrong, the value, and what to do")


class AnthropicError(BaseModel):
    """What every failure answers; in a stream, the data of an `error` event."""

    type: Literal["error"]
    error: AnthropicErrorObject
    request_id: str


class ContentBlock(BaseModel):
    type: Literal["text", "thinking", "tool_use"]
    text: str | None = None
    thinking: str | None = None
    signature: str | None = Field(None, description="empty: nobody checks it")
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None


class OutputDetails(BaseModel):
    thinking_tokens: int = Field(ge=0)


class AnthropicUsage(BaseModel):
    input_tokens: int = Field(ge=0, description="of the prompt, without those that were read from KV that was kept")
    cache_creation_input_tokens: int
    cache_read_input_tokens: int = Field(ge=0)
    output_tokens: int = Field(ge=0)
    output_tokens_details: OutputDetails


class AnthropicMessage(BaseModel):
    """A whole answer. With `stream`, server-sent events, each with its type as its name."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str = Field(description="the expert that answered")
    content: list[ContentBlock]
    stop_reason: Literal["end_turn", "max_tokens", "stop_sequence", "tool_use"]
    stop_sequence: str | None
    usage: AnthropicUsage
    coe: Coe


class AnthropicCount(BaseModel):
    input_tokens: int = Field(ge=0)


class ResponseInput(BaseModel):
    cached_tokens: int = Field(ge=0, description="from KV that was kept")
    cache_write_tokens: int


class ResponseOutput(BaseModel):
    reasoning_tokens: int = Field(ge=0)


class ResponseUsage(BaseModel):
    input_tokens: int = Field(ge=0)
    input_tokens_details: ResponseInput
    output_tokens: int = Field(ge=0)
    output_tokens_details: ResponseOutput
    total_tokens: int = Field(ge=0)


class Response(BaseModel):
    """A whole response. With `stream`, numbered server-sent events, each with its type as its name."""

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    error: dict[str, Any] | None
    incomplete_details: dict[str, Any] | None
    model: str = Field(description="the expert that answered")
    output: list[dict[str, Any]] = Field(description="items: reasoning, message, function_call")
    previous_response_id: str | None
    store: bool
    usage: ResponseUsage | None
    coe: Coe
    metadata: dict[str, str] = Field(description="as it was asked, as are the fields after it")
    instructions: str | None
    max_output_tokens: int | None
    parallel_tool_calls: bool
    reasoning: dict[str, Any]
    temperature: float | None
    text: dict[str, Any]
    tool_choice: str | dict[str, Any]
    tools: list[dict[str, Any]]
    top_logprobs: int | None
    top_p: float | None
    truncation: Literal["disabled"]


class ResponseDeleted(BaseModel):
    id: str
    object: Literal["response"]
    deleted: Literal[True]


class InputItems(BaseModel):
    object: Literal["list"]
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool
