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
    "Embeddings",
    "Error",
    "ExpertCommanded",
    "Experts",
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


class Usage(BaseModel):
    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)
    total_tokens: int = Field(ge=0)
    prompt_tokens_details: PromptTokens


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
    loaded_bytes: int = Field(ge=0)
    load_ms: float = Field(ge=0)
    wait_ms: float = Field(ge=0)
    first_token_ms: float = Field(ge=0)


class Cached(BaseModel):
    """Which kept answer this is: one to the same prompt, or to one that is near."""

    kind: Literal["exact", "semantic"]
    similarity: float
    age_s: float = Field(ge=0)


class Coe(Decision):
    """The decision behind an answer, and what it cost to run the expert."""

    tier: Literal["disk", "host", "device"]
    changed: list[str]
    cached: Cached | None = Field(description="null for a new answer")
    switch: Switch


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


class AssistantMessage(BaseModel):
    role: Literal["assistant"]
    content: str | None


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


class Health(BaseModel):
    status: str


class Ready(BaseModel):
    ready: bool
    status: str | None = Field(None, description="what is being waited for; for those who bring a key")
