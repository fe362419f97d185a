"""The shapes of answers, for the document alone: what the dialects write is theirs.

Extra fields are allowed everywhere, as clients should expect.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from coe.statuses import ExpertStatus
from coe.types import CostTerm, PassedOver, ShadowChoice

__all__ = [
    "Answers",
    "AnswersCleared",
    "ChatCompletion",
    "Completion",
    "Decision",
    "Decisions",
    "Drained",
    "Embeddings",
    "Error",
    "ExpertCommanded",
    "Experts",
    "FeedbackKept",
    "Health",
    "ModelList",
    "ModelObject",
    "Ready",
    "Reranking",
    "Route",
    "Store",
]


class ErrorObject(BaseModel):
    message: str = Field(description="what is wrong, the value, and what to do")
    type: str
    param: str | None = Field(description="the wrong field")
    code: str | None


class Error(BaseModel):
    """What every failure answers; in a stream, the data of an `error` event."""

    error: ErrorObject


class PromptTokens(BaseModel):
    cached_tokens: int = Field(ge=0, description="of the prompt, from KV that was kept")


class CompletionTokens(BaseModel):
    reasoning_tokens: int = Field(ge=0, description="of the answers, in thoughts")


class Usage(BaseModel):
    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)
    total_tokens: int = Field(ge=0)
    prompt_tokens_details: PromptTokens
    completion_tokens_details: CompletionTokens


class Neighbour(BaseModel):
    id: str
    source: str
    category: str
    license: str
    cosine: float | None
    text: str | None = Field(description="null where its licence does not allow to show it")


class Decision(BaseModel):
    """Which expert answers, and why."""

    expert: str
    category: str | None
    confidence: float | None
    why: str
    because: str
    rule: int | None
    instead_of: str | None
    alternatives: list[str]
    passed_over: list[PassedOver]
    cost: CostTerm | None
    probabilities: dict[str, float | None]
    nearest: list[Neighbour]


class Route(Decision):
    """The decision, and what a router in shadow says of the same prompt."""

    shadow: ShadowChoice | None = Field(description="null without one, and where no classifier was asked")


class Switch(BaseModel):
    kind: Literal["device_hit", "host_hit", "disk_miss"]
    queue_ms: float = Field(ge=0)
    evict_ms: float = Field(ge=0, description="of making room, beside other work")
    load_ms: float = Field(ge=0)
    first_token_ms: float = Field(ge=0, description="from submission, the queue and the load included")
    loaded_bytes: int = Field(ge=0)
    evicted_bytes: int = Field(ge=0, description="of other experts, which left for them")


class Cached(BaseModel):
    """Which kept answer this is: one to the same prompt, or to one that is near."""

    kind: Literal["exact", "semantic"]
    similarity: float
    age_s: float = Field(ge=0)


class Coe(BaseModel):
    """The decision behind an answer, and what it cost to run the expert. `coe.explain` asks for the whole decision."""

    expert: str
    category: str | None
    confidence: float | None
    why: str
    tier: Literal["disk", "host", "device"]
    switch: Switch
    passed_over: list[PassedOver] = Field([], description="those that could not answer")
    changed: list[str] = Field([], description="what was changed in the conversation for the expert's template")
    cached: Cached | None = Field(None, description="null for a new answer")
    because: str | None = Field(None, description="with explain, as are the fields after it")
    rule: int | None = None
    instead_of: str | None = None
    alternatives: list[str] = []
    cost: CostTerm | None = None
    probabilities: dict[str, float | None] = {}
    nearest: list[Neighbour] = []
    prompts: list[Coe] = Field([], description="of a list of prompts: each one's")


class ModelObject(BaseModel):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    kind: Literal["composition", "chat"]
    max_model_len: int
    description: str
    aliases: list[str] = []
    backend: str = ""
    num_parameters: int = 0
    size_bytes: int = 0


class Tokenized(BaseModel):
    model: str
    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None = None


class Detokenized(BaseModel):
    model: str
    prompt: str


class ModelList(BaseModel):
    object: Literal["list"]
    data: list[ModelObject]


class CalledFunction(BaseModel):
    name: str
    arguments: str = Field(description="a JSON object's text")


class ToolCall(BaseModel):
    id: str
    type: Literal["function"]
    function: CalledFunction


class AssistantMessage(BaseModel):
    role: Literal["assistant"]
    content: str | None = Field(description="null where it does nothing but call tools")
    reasoning_content: str | None = Field(None, description="what the model thought before it answered")
    tool_calls: list[ToolCall] | None = None


class ChatChoice(BaseModel):
    index: int = Field(ge=0)
    message: AssistantMessage
    logprobs: dict[str, Any] | None
    finish_reason: str


class _Answer(BaseModel):
    id: str
    created: int
    model: str = Field(description="the expert that answered")
    usage: Usage
    coe: Coe


class ChatCompletion(_Answer):
    """A whole answer. With `stream`, server-sent events have chunks of it, each choice with a `delta`."""

    object: Literal["chat.completion"]
    choices: list[ChatChoice]


class CompletionChoice(BaseModel):
    index: int = Field(ge=0)
    text: str
    logprobs: dict[str, Any] | None
    finish_reason: str


class Completion(_Answer):
    """A whole answer. With `stream`, server-sent events have chunks of it."""

    object: Literal["text_completion"]
    choices: list[CompletionChoice]


class TextUsage(BaseModel):
    prompt_tokens: int = Field(ge=0)
    total_tokens: int = Field(ge=0)


class Embedding(BaseModel):
    object: Literal["embedding"]
    index: int = Field(ge=0)
    embedding: list[float] | str = Field(description="a text with `encoding_format` base64: little-endian float32")


class Embeddings(BaseModel):
    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: TextUsage


class RerankedDocument(BaseModel):
    index: int = Field(ge=0, description="of the document in the request")
    relevance_score: float
    document: dict[str, str] | None = Field(None, description="left out with `return_documents` false")


class Reranking(BaseModel):
    """The best documents first."""

    id: str
    model: str
    results: list[RerankedDocument]
    usage: TextUsage


class Experts(BaseModel):
    experts: list[ExpertStatus]


class ExpertCommanded(BaseModel):
    """An expert after an operator's command."""

    ok: Literal[True]
    expert: ExpertStatus


class Store(BaseModel):
    folder: str
    disk_bytes: int = Field(ge=0)


class Answers(BaseModel):
    """The answer cache: what it holds, and counts since the start."""

    is_enabled: bool
    num_answers: int = Field(ge=0)
    used_bytes: int = Field(ge=0)
    budget_bytes: int = Field(ge=0)
    num_exact_hits: int = Field(ge=0)
    num_semantic_hits: int = Field(ge=0)
    num_misses: int = Field(ge=0, description="of requests that it could have answered")
    num_evicted: int = Field(ge=0, description="to make room for others")
    num_expired: int = Field(ge=0)


class AnswersCleared(BaseModel):
    ok: Literal[True]
    num_cleared: int = Field(ge=0)


class DecisionRow(BaseModel):
    """A decision that answered a request; it has its prompt where the server may keep prompts."""

    id: str
    time: str = Field(description="RFC 3339")
    prompt: str | None = None
    category: str | None
    expert: str
    confidence: float | None
    why: str
    passed_over: list[str]
    request_id: str
    key: str


class Decisions(BaseModel):
    decisions: list[DecisionRow]
    num_kept: int = Field(ge=0)


class Drained(BaseModel):
    ok: Literal[True]
    num_running: int = Field(ge=0)
    ends: bool = Field(description="false where the server is part of another program, which has to end it")


class FeedbackKept(BaseModel):
    ok: Literal[True]
    id: str
    category: str | None = Field(description="the right one, as it was kept")


class Health(BaseModel):
    status: str


class Ready(BaseModel):
    ready: bool
    status: str | None = Field(None, description="what is being waited for; for those who bring a key")
