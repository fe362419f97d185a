"""POST /v1/rerank: documents by their relevance to a query, in Jina's and Cohere's shape as vLLM has it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar
from uuid import uuid4

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from coe.config.schema import COMPOSITION
from coe.embedding.requests import Reranked, RerankRequest
from coe.errors import InvalidRequestError
from coe.runtime import Runtime
from server.access.caller import caller_of
from server.bodies import BodyReader, validated
from server.generation.respond import unless_left
from server.openai.embeddings import HARMLESS_FOR_EMBEDDINGS, charge, model_named
from server.openai.fields import KnownFields

__all__ = ["RerankBody", "rerank_routes"]

MOST_DOCUMENTS = 2048


class DocumentText(BaseModel):
    """A document as an object."""

    text: str


class RerankBody(KnownFields):
    """POST /v1/rerank."""

    harmless: ClassVar[Collection[str]] = HARMLESS_FOR_EMBEDDINGS

    model: str = COMPOSITION
    query: str = Field(min_length=1)
    documents: list[str | DocumentText] = Field(min_length=1, max_length=MOST_DOCUMENTS)
    top_n: int | None = Field(None, ge=0)
    return_documents: bool = True
    truncate_prompt_tokens: int | None = Field(None, ge=-1)

    @property
    def texts(self) -> tuple[str, ...]:
        """The documents; raises InvalidRequestError for an empty one."""
        texts = tuple(each if isinstance(each, str) else each.text for each in self.documents)
        for at, text in enumerate(texts):
            if not text:
                raise InvalidRequestError(f"documents[{at}] is an empty text; leave it out", param="documents")
        return texts

    def rerank_request(self, request_id: str) -> RerankRequest:
        cut = 0 if self.truncate_prompt_tokens == -1 else self.truncate_prompt_tokens
        return RerankRequest(request_id, self.query, self.texts, model_named(self.model), cut)


def rerank_routes(runtime: Runtime, read_body: BodyReader) -> APIRouter:
    """Return the endpoint."""
    routes = APIRouter()

    @routes.post("/v1/rerank")
    async def rerank(request: Request) -> JSONResponse:
        asked = validated(RerankBody, await read_body(request))
        name = uuid4().hex
        found = await unless_left(request, runtime.embeddings.rerank(asked.rerank_request(name)))
        charge(caller_of(request), found.num_tokens)
        return JSONResponse(answer(f"rerank-{name}", asked, found))

    return routes


def answer(answer_id: str, asked: RerankBody, found: Reranked) -> dict[str, Any]:
    """Return the best documents first, equal ones in the order that they were sent in."""
    texts, scores = asked.texts, found.scores
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    results: list[dict[str, Any]] = [{"index": index, "relevance_score": scores[index]} for index in order]
    if asked.return_documents:
        for result in results:
            result["document"] = {"text": texts[result["index"]]}
    return {
        "id": answer_id,
        "model": found.model,
        "results": results[: asked.top_n or None],
        "usage": {"prompt_tokens": found.num_tokens, "total_tokens": found.num_tokens},
    }
