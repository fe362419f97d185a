"""What clients ask of embedding and rerank models, and what they get. Knows nothing about HTTP or who computes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["EmbedRequest", "Embedded", "RerankRequest", "Reranked", "Text", "TextKind"]

Text: TypeAlias = "str | tuple[int, ...]"  # or the model's own token ids, taken as they are
TextKind = Literal["query", "document"]


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """Texts to embed. `model` None is the router's encoder.

    `kind` chooses the model's prompt, None its default. `num_dims` None is all of them. `truncate_to` cuts longer texts
    to so many tokens, 0 to what the model takes; None refuses a text that is longer than that.
    """

    id: str
    texts: tuple[Text, ...]
    model: str | None = None
    kind: TextKind | None = None
    num_dims: int | None = None
    truncate_to: int | None = None


class Embedded(NamedTuple):
    """`vectors` are (texts, dims) float32 of length 1; `num_tokens` are all that were read."""

    model: str
    vectors: NDArray[np.float32]
    num_tokens: int


@dataclass(frozen=True, slots=True)
class RerankRequest:
    """Documents to score against a query; `model` and `truncate_to` as in EmbedRequest."""

    id: str
    query: str
    documents: tuple[str, ...]
    model: str | None = None
    truncate_to: int | None = None


class Reranked(NamedTuple):
    """A score for each document, in their order: higher is nearer."""

    model: str
    scores: tuple[float, ...]
    num_tokens: int
