"""OpenAI's embeddings: POST /v1/embeddings, its request and its answer.

Extensions: `input_type`, and `truncate_prompt_tokens` as vLLM has it. Token ids are the model's own, as in vLLM.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Collection
from typing import Any, ClassVar, Literal
from uuid import uuid4

import numpy as np
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray
from pydantic import Field

from coe.config.schema import COMPOSITION
from coe.embedding.requests import Embedded, EmbedRequest, Text
from coe.errors import InvalidRequestError
from coe.runtime import Runtime
from server.access.caller import Caller, caller_of
from server.bodies import BodyReader, validated
from server.generation.respond import unless_left
from server.openai.fields import KnownFields

__all__ = ["HARMLESS_FOR_EMBEDDINGS", "EmbeddingRequest", "charge", "embedding_routes", "model_named"]

HARMLESS_FOR_EMBEDDINGS = frozenset({"user", "metadata", "safety_identifier"})
MOST_INPUTS = 2048  # as OpenAI has it
_TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
_IDS: dict[str, Any] = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_MANY: dict[str, Any] = {"type": "array", "minItems": 1, "maxItems": MOST_INPUTS}


class EmbeddingRequest(KnownFields):
    """POST /v1/embeddings. `input` is a text, a list of texts, token ids, or a list of lists of token ids."""

    harmless: ClassVar[Collection[str]] = HARMLESS_FOR_EMBEDDINGS

    model: str = COMPOSITION
    input: str | list[Any] = Field(
        json_schema_extra={"anyOf": [_TEXT, {**_MANY, "items": _TEXT}, _IDS, {**_MANY, "items": _IDS}]}
    )
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1)
    input_type: Literal["query", "document", "passage"] | None = None
    truncate_prompt_tokens: int | None = Field(None, ge=-1)

    def embed_request(self, request_id: str) -> EmbedRequest:
        return EmbedRequest(
            request_id,
            texts_of(self.input),
            model_named(self.model),
            "document" if self.input_type == "passage" else self.input_type,
            self.dimensions,
            0 if self.truncate_prompt_tokens == -1 else self.truncate_prompt_tokens,
        )


def embedding_routes(runtime: Runtime, read_body: BodyReader) -> APIRouter:
    """Return the endpoint."""
    routes = APIRouter()

    @routes.post("/v1/embeddings")
    async def embed(request: Request) -> Response:
        asked = validated(EmbeddingRequest, await read_body(request))
        work = runtime.embeddings.embed(asked.embed_request(uuid4().hex))
        found = await unless_left(request, work)
        charge(caller_of(request), found.num_tokens)
        body = await asyncio.to_thread(written, found, asked.encoding_format)
        return Response(body, media_type="application/json")

    return routes


def written(found: Embedded, encoding_format: Literal["float", "base64"]) -> str:
    """Return OpenAI's list of embeddings as JSON.

    Vector by vector: to write a million numbers in one go would let no other thread run for half a second.
    """
    shaped = _base64 if encoding_format == "base64" else _floats
    data = (
        json.dumps({"object": "embedding", "index": index, "embedding": shaped(vector)})
        for index, vector in enumerate(found.vectors)
    )
    usage = {"prompt_tokens": found.num_tokens, "total_tokens": found.num_tokens}
    rest = json.dumps({"model": found.model, "usage": usage})
    return f'{{"object": "list", "data": [{", ".join(data)}], {rest[1:]}'


def texts_of(written: str | list[Any]) -> tuple[Text, ...]:
    """Return the texts, or token ids, of `input`; raises InvalidRequestError for what is empty or mixed."""
    if isinstance(written, str):
        return (_text(written, "input"),)
    if not written:
        raise InvalidRequestError("input is an empty list; send at least one text", param="input")
    if all(isinstance(each, str) for each in written):
        _check_number(len(written))
        return tuple(_text(each, f"input[{at}]") for at, each in enumerate(written))
    if all(isinstance(each, list) for each in written):
        _check_number(len(written))
        return tuple(_ids(each, f"input[{at}]") for at, each in enumerate(written))
    return (_ids(written, "input"),)


def model_named(model: str) -> str | None:
    """Return the model that a request names; None where it names the composition."""
    return None if model.lower() == COMPOSITION else model


def charge(caller: Caller, num_tokens: int) -> None:
    """Count what a key's texts took against its allowance."""
    if caller.allowance:
        caller.allowance.charge(num_tokens, time.monotonic())


def _check_number(num_inputs: int) -> None:
    if num_inputs > MOST_INPUTS:
        raise InvalidRequestError(
            f"input has {num_inputs:,} texts, and a request takes {MOST_INPUTS:,} at most; send several requests",
            param="input",
        )


def _text(text: str, where: str) -> str:
    if not text:
        raise InvalidRequestError(f"{where} is an empty text; leave it out, or write something", param="input")
    return text


def _ids(ids: list[Any], where: str) -> tuple[int, ...]:
    if not ids:
        raise InvalidRequestError(f"{where} is an empty list; leave it out, or send token ids", param="input")
    if not all(type(token_id) is int for token_id in ids):
        raise InvalidRequestError(
            f"{where} is neither a text nor a list of token ids; send one text, a list of texts, or token ids",
            param="input",
        )
    return tuple(ids)


def _base64(vector: NDArray[np.float32]) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")


def _floats(vector: NDArray[np.float32]) -> list[float]:
    return [float(value) for value in vector]
