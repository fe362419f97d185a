"""Embeddings and reranking for clients: who computes them, and what is made of the vectors.

Vectors are the router's encoder's or an embedding expert's; scores are a rerank expert's, else cosines of vectors.
Knows nothing about HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from coe.embedding.embedder import LateEmbedder
from coe.embedding.encoder_vectors import EncoderVectors
from coe.embedding.expert_vectors import ExpertVectors
from coe.embedding.requests import Embedded, EmbedRequest, Reranked, RerankRequest, Text, TextKind
from coe.engine.loop import Engine
from coe.errors import InvalidRequestError
from coe.experts import Experts
from coe.lifecycle import Lifecycle
from coe.routing import TextWorker
from coe.telemetry.request_watch import RequestWatch, RequestWatches
from coe.types import GenerateRequest

__all__ = ["Embeddings", "VectorSource", "cosines", "shortened"]

T = TypeVar("T")


class VectorSource(Protocol):
    """Who makes the vectors of one request."""

    @property
    def name(self) -> str: ...
    @property
    def num_dims(self) -> int: ...

    async def token_ids(
        self, texts: Sequence[Text], kind: TextKind | None, truncate_to: int | None, param: str
    ) -> list[tuple[int, ...]]:
        """Return the tokens of each text; raises for one that is too long, in the name of the field `param`."""
        ...

    async def vectors(self, ids: Sequence[tuple[int, ...]]) -> NDArray[np.float32]:
        """Return (texts, num_dims)."""
        ...


class Embeddings:
    """The runtime's embeddings; `encoder` is None where there is no router's encoder to ask."""

    def __init__(
        self,
        experts: Experts,
        encoder: LateEmbedder | None,
        engine: Engine,
        worker: TextWorker,
        life: Lifecycle,
        watches: RequestWatches,
    ) -> None:
        self.encoder = encoder
        self._experts, self._engine, self._worker = experts, engine, worker
        self._life, self._watches = life, watches

    async def embed(self, request: EmbedRequest) -> Embedded:
        """Return the vectors of a request's texts.

        Raises CoeError: what is wrong with the request, or what keeps it from its expert.
        """
        return await self._counted(request.id, lambda count: self._embed(request, count))

    async def rerank(self, request: RerankRequest) -> Reranked:
        """Return a score for each document; raises as `embed` does."""
        return await self._counted(request.id, lambda count: self._rerank(request, count))

    async def _counted(self, request_id: str, work: Callable[[RequestWatch], Coroutine[object, object, T]]) -> T:
        with self._life.accepted(), self._watches.watched(GenerateRequest(request_id)) as count:
            found = await self._life.run(work(count))
            count.outcome = "ok"
            return found

    async def _embed(self, request: EmbedRequest, count: RequestWatch) -> Embedded:
        source = await self._source(request.model, request.id, count)
        if request.num_dims is not None and request.num_dims > source.num_dims:
            raise InvalidRequestError(
                f"dimensions = {request.num_dims}, and '{source.name}' has {source.num_dims}; ask for fewer",
                param="dimensions",
            )
        ids = await source.token_ids(request.texts, request.kind, request.truncate_to, "input")
        vectors = shortened(await source.vectors(ids), request.num_dims)
        return Embedded(source.name, vectors, sum(map(len, ids)))

    async def _rerank(self, request: RerankRequest, count: RequestWatch) -> Reranked:
        """Score pairs by a rerank expert, else by the cosine of the query's vector and each document's."""
        name = None if request.model is None else self._experts.names.get(request.model.lower())
        expert = self._experts.pooled.get(name or "")
        if expert is not None and expert.kind == "rerank":
            count.named(expert.loaded.name)
            reader = ExpertVectors(expert, request.id, self._engine, self._life, self._worker)
            pairs = await reader.pair_ids(request)
            scores = await reader.scores(pairs)
            return Reranked(reader.name, scores, sum(len(pair.token_ids) for pair in pairs))
        source = await self._source(request.model, request.id, count)
        asked = await source.token_ids((request.query,), "query", request.truncate_to, "query")
        ids = await source.token_ids(request.documents, "document", request.truncate_to, "documents")
        vectors = await source.vectors([*asked, *ids])
        return Reranked(source.name, cosines(vectors[0], vectors[1:]), len(asked[0]) + sum(map(len, ids)))

    async def _source(self, model: str | None, request_id: str, count: RequestWatch) -> VectorSource:
        """Return who makes the vectors; raises UnknownExpertError, InvalidRequestError, or the expert's own error."""
        encoder = self.encoder
        if encoder is not None and (model is None or model.lower() in map(str.lower, encoder.names)):
            count.named(encoder.name)
            return EncoderVectors(encoder.name, await self._worker.run_embedding(encoder.get), self._worker)
        known = [*([] if encoder is None else [encoder.name]), *self._names_of_kind("embedding")]
        if model is None:
            others = f": {', '.join(known)}" if known else ', or give an expert kind = "embedding"'
            raise InvalidRequestError(
                f"there is no model for embeddings here by default; name one{others}", param="model"
            )
        name = self._experts.name_of(model)
        count.named(name)
        if (expert := self._experts.pooled.get(name)) is None:
            self._experts.get(name)  # raises what keeps it out
            what = "answers prompts"
        elif expert.kind == "rerank":
            what = "reranks (ask it at /v1/rerank)"
        else:
            return ExpertVectors(expert, request_id, self._engine, self._life, self._worker)
        others = f"; models for embeddings: {', '.join(known)}" if known else '; give an expert kind = "embedding"'
        raise InvalidRequestError(f"expert '{name}' {what} and makes no vectors{others}", param="model")

    def _names_of_kind(self, kind: str) -> list[str]:
        return [name for name, expert in self._experts.pooled.items() if expert.kind == kind]


def shortened(vectors: NDArray[np.float32], num_dims: int | None) -> NDArray[np.float32]:
    """Return the first dimensions of each vector, of length 1; a vector of zeros stays one."""
    if num_dims is None or num_dims == vectors.shape[1]:
        return vectors
    return _of_length_one(vectors[:, :num_dims])


def cosines(query: NDArray[np.float32], documents: NDArray[np.float32]) -> tuple[float, ...]:
    """Return the cosine of each document's vector with the query's."""
    return tuple(float(each) for each in _of_length_one(documents) @ _of_length_one(query[None])[0])


def _of_length_one(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32)
