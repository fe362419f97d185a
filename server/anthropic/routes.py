"""Anthropic's endpoints: /v1/messages and /v1/messages/count_tokens."""

from __future__ import annotations

import uuid

from fastapi import APIRouter, Request, Response

from coe.runtime import Runtime
from server.access.caller import caller_of
from server.anthropic.answers import MessageAnswer
from server.anthropic.requests import CountRequest, MessageRequest
from server.bodies import BodyReader, check_num_messages, validated
from server.generation.respond import Generation, respond
from server.openai.tokens import encoded
from server.routing import conversation_of

__all__ = ["anthropic_routes"]


def anthropic_routes(runtime: Runtime, read_body: BodyReader, keep_alive_s: float) -> APIRouter:
    """Return the endpoints; `keep_alive_s` is the time between comments in a stream that is waiting."""
    routes = APIRouter()

    @routes.post("/v1/messages")
    async def create(request: Request) -> Response:
        body = await read_body(request)
        check_num_messages(body, runtime.experts.longest_context)
        asked = validated(MessageRequest, body)
        name = uuid.uuid4().hex
        generation = Generation(
            [asked.generate_request(name, caller_of(request), conversation_of(request))],
            lambda routed: MessageAnswer(name, asked, routed),
            streams=asked.stream,
        )
        return await respond(runtime, request, generation, keep_alive_s)

    @routes.post("/v1/messages/count_tokens")
    async def count(request: Request) -> dict[str, int]:
        body = await read_body(request)
        check_num_messages(body, runtime.experts.longest_context)
        generated = validated(CountRequest, body).generate_request(uuid.uuid4().hex)
        return {"input_tokens": len((await encoded(runtime, generated, caller_of(request))).token_ids)}

    return routes
