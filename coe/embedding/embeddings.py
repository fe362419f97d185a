"""Embeddings and reranking for clients: who computes them, in pieces between which others have their turn.

The router's encoder runs on a thread of its own, a few texts at a time, so that neither routing nor another client's
single text waits for a list of thousands. Knows nothing about HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from coe.embedding.embedder import Embedder, LateEmbedder
from coe.embedding.requests import Embedded, EmbedRequest, Reranked, RerankRequest, Text, TextKind
from coe.embedding.token_limits import TokenLimits
from coe.errors import InvalidRequestError
from coe.experts import Experts
from coe.lifecycle import Lifecycle
from coe.routing import TextWorker
from coe.telemetry.metrics import Metrics, RequestCount

__all__ = ["Embeddings"]

PIECE_TEXTS = 16  # that are tokenised or run before others have their turn
PIECE_TOKENS = 1024


class Embeddings:
    """The runtime's embeddings; `encoder` is None where there is no router's encoder to ask."""

    def __init__(
        self, experts: Experts, encoder: LateEmbedder | None, text: TextWorker, life: Lifecycle, metrics: Metrics
    ) -> None:
        self._experts, self.encoder, self._text = experts, encoder, text
        self._life, self._metrics = life, metrics

    async def embed(self, request: EmbedRequest) -> Embedded:
        """Return the vectors of a request's texts.

        Raises UnknownExpertError, InvalidRequestError, ContextLengthError for what is wrong with the request.
        """
        with self._life.accepted(), self._metrics.counted() as count:
            found = await self._life.run(self._embed(request, count))
            count.outcome = "ok"
            return found

    async def rerank(self, request: RerankRequest) -> Reranked:
        """Return a score for each document; raises as `embed` does."""
        with self._life.accepted(), self._metrics.counted() as count:
            found = await self._life.run(self._rerank(request, count))
            count.outcome = "ok"
            return found

    async def _embed(self, request: EmbedRequest, count: RequestCount) -> Embedded:
        encoder = self._encoder_for(request.model)
        count.expert = encoder.name
        embedder = await self._text.run_embedding(encoder.get)
        if request.num_dims is not None and request.num_dims > embedder.num_dims:
            raise InvalidRequestError(
                f"dimensions = {request.num_dims}, and '{encoder.name}' has {embedder.num_dims}; ask for fewer",
                param="dimensions",
            )
        ids = await self._token_ids(encoder, embedder, request.texts, request.kind, request.truncate_to, "input")
        vectors = await self._vectors(embedder, ids)
        return Embedded(encoder.name, shortened(vectors, request.num_dims), sum(map(len, ids)))

    async def _rerank(self, request: RerankRequest, count: RequestCount) -> Reranked:
        """Score by the cosine of the query's vector and each document's."""
        encoder = self._encoder_for(request.model)
        count.expert = encoder.name
        embedder = await self._text.run_embedding(encoder.get)
        cut = request.truncate_to
        asked = await self._token_ids(encoder, embedder, (request.query,), "query", cut, "query")
        ids = await self._token_ids(encoder, embedder, request.documents, "document", cut, "documents")
        vectors = await self._vectors(embedder, [*asked, *ids])
        scores = tuple(float(score) for score in vectors[1:] @ vectors[0])
        return Reranked(encoder.name, scores, len(asked[0]) * len(ids) + sum(map(len, ids)))

    def _encoder_for(self, model: str | None) -> LateEmbedder:
        """Return the router's encoder if `model` names it, or names nothing."""
        encoder = self.encoder
        if encoder is not None and (model is None or model.lower() in map(str.lower, encoder.names)):
            return encoder
        if model is None:
            raise InvalidRequestError("there is no model for embeddings here; name one", param="model")
        name = self._experts.name_of(model)
        other = "" if encoder is None else f"; the model for embeddings is '{encoder.name}'"
        raise InvalidRequestError(f"expert '{name}' answers prompts and embeds no texts{other}", param="model")

    async def _token_ids(
        self,
        encoder: LateEmbedder,
        embedder: Embedder,
        texts: Sequence[Text],
        kind: TextKind | None,
        truncate_to: int | None,
        param: str,
    ) -> list[tuple[int, ...]]:
        limits = TokenLimits(encoder.name, embedder.max_tokens, embedder.num_rows, embedder.num_last)

        def read(some: Sequence[Text]) -> list[tuple[int, ...]]:
            return [limits.read(text, lambda each: embedder.token_ids(each, kind), truncate_to, param) for text in some]

        return [
            ids
            for start in range(0, len(texts), PIECE_TEXTS)
            for ids in await self._text.run_embedding(read, texts[start : start + PIECE_TEXTS])
        ]

    async def _vectors(self, embedder: Embedder, ids: Sequence[tuple[int, ...]]) -> NDArray[np.float32]:
        embed: Callable[[Sequence[tuple[int, ...]]], NDArray[np.float32]] = embedder.embed
        return np.concatenate([await self._text.run_embedding(embed, piece) for piece in pieces(ids)])


def pieces(ids: Sequence[tuple[int, ...]]) -> Iterator[Sequence[tuple[int, ...]]]:
    """Yield runs of texts of about PIECE_TOKENS tokens, at least one text each."""
    start = size = 0
    for at, each in enumerate(ids):
        if at > start and (size + len(each) > PIECE_TOKENS or at - start == PIECE_TEXTS):
            yield ids[start:at]
            start, size = at, 0
        size += len(each)
    yield ids[start:]


def shortened(vectors: NDArray[np.float32], num_dims: int | None) -> NDArray[np.float32]:
    """Return the first dimensions of each vector, of length 1 again; a vector of zeros stays one."""
    if num_dims is None or num_dims == vectors.shape[1]:
        return vectors
    cut = vectors[:, :num_dims]
    lengths = np.linalg.norm(cut, axis=1, keepdims=True)
    return np.asarray(cut / np.where(lengths > 0, lengths, 1), np.float32)
