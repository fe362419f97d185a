"""OpenAI's endpoints: /v1/chat/completions, /v1/completions, /v1/models."""

from __future__ import annotations

import time
import uuid
from typing import Any

from fastapi import APIRouter, Request, Response

from coe.config.schema import COMPOSITION
from coe.errors import UnknownExpertError, nearest, shown
from coe.runtime import Runtime
from server.access.caller import caller_of
from server.bodies import BodyReader, check_num_messages, validated
from server.generation.respond import Generation, respond
from server.openai.answers import ChatAnswer, CompletionAnswer
from server.openai.objects import composition_object, model_object
from server.openai.requests import ChatRequest, CompletionRequest
from server.openai.tokens import texts_of
from server.routing import conversation_of

__all__ = ["openai_routes"]


def openai_routes(runtime: Runtime, read_body: BodyReader, keep_alive_s: float) -> APIRouter:
    """Return the endpoints; `keep_alive_s` is the time between comments in a stream that is waiting."""
    routes = APIRouter()

    @routes.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        body = await read_body(request)
        check_num_messages(body, runtime.experts.longest_context)
        asked = validated(ChatRequest, body)
        name = uuid.uuid4().hex
        generation = Generation(
            [asked.generate_request(name, caller_of(request), conversation_of(request))],
            lambda routed: ChatAnswer(name, asked, routed),
            streams=asked.stream,
        )
        return await respond(runtime, request, generation, keep_alive_s)

    @routes.post("/v1/completions")
    async def complete(request: Request) -> Response:
        asked = validated(CompletionRequest, await read_body(request))
        texts = await texts_of(runtime, asked)
        name = uuid.uuid4().hex
        generation = Generation(
            asked.generate_requests(name, texts, caller_of(request), conversation_of(request)),
            lambda routed: CompletionAnswer(name, asked, routed, len(texts)),
            streams=asked.stream,
        )
        return await respond(runtime, request, generation, keep_alive_s)

    _add_models(routes, runtime)
    return routes


def _add_models(routes: APIRouter, runtime: Runtime) -> None:
    started_s = int(time.time())

    @routes.get("/v1/models")
    async def models() -> dict[str, Any]:
        experts = [model_object(status, started_s) for status in runtime.operator.experts() if status.size_bytes]
        return {"object": "list", "data": [composition_object(started_s, runtime.experts.longest_context), *experts]}

    @routes.get("/v1/models/{name}")
    async def model(name: str) -> dict[str, Any]:
        if name.lower() == COMPOSITION:
            return composition_object(started_s, runtime.experts.longest_context)
        known = runtime.experts.names.get(name.lower())
        for status in runtime.operator.experts():
            if status.name == known:
                return model_object(status, started_s)
        hint = nearest(name, {COMPOSITION, *runtime.experts.names.values()}, "the models are")
        raise UnknownExpertError(f"there is no model {shown(name)}; {hint}", param="model")
