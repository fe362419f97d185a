"""The router over HTTP: POST /v1/route says which expert would answer, without an answer. Knows nothing about how."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

from fastapi import APIRouter, Request
from pydantic import Field

from coe.config.schema import COMPOSITION
from coe.errors import InvalidRequestError
from coe.preparation import routed_messages
from coe.runtime import Runtime
from coe.types import Message, RouteQuery
from server.access.caller import Caller, caller_of
from server.bodies import BodyReader, check_num_messages, validated
from server.decisions import route_object
from server.openai.fields import KnownFields
from server.openai.requests import HARMLESS, NEUTRAL, ChatRequest
from server.openai.turns import Turn, messages_of
from server.openai.wishes import Wishes

__all__ = ["RouteRequest", "conversation_of", "routing_routes"]

CONVERSATION = "x-coe-conversation"


class RouteRequest(KnownFields):
    """The body of POST /v1/route: a prompt or a conversation, and perhaps a model and tools.

    A chat request can be asked as it is: what says how to answer is ignored.
    """

    harmless: ClassVar[Collection[str]] = frozenset({*ChatRequest.model_fields, *NEUTRAL, *HARMLESS})

    model: str = COMPOSITION
    prompt: str | None = None
    messages: list[Turn] = Field(default_factory=list)
    tools: list[Any] | None = None
    coe: Wishes = Wishes()

    def query(self, caller: Caller, conversation: str | None = None) -> RouteQuery:
        if self.prompt is None and not self.messages:
            raise InvalidRequestError("send prompt or messages", param="prompt")
        messages = messages_of(self.messages) or (Message("user", self.prompt or ""),)
        return RouteQuery(
            routed_messages(messages),
            self.coe.expert_beside(self.model),
            bool(self.tools),
            conversation,
            owner=caller.owner,
            only_explains=True,
            exclude=self.coe.exclude,
            prefer=self.coe.prefer,
        )


def routing_routes(runtime: Runtime, read_body: BodyReader) -> APIRouter:
    """Return the endpoint that says which expert would answer, without an answer."""
    routes = APIRouter()

    @routes.post("/v1/route")
    async def route(request: Request) -> dict[str, Any]:
        body = await read_body(request)
        check_num_messages(body, runtime.experts.longest_context)
        asked = validated(RouteRequest, body)
        return route_object(await runtime.route(asked.query(caller_of(request), conversation_of(request))))

    return routes


def conversation_of(request: Request) -> str | None:
    """Return the client's own name for the conversation; None without the header, or with an empty one."""
    return request.headers.get(CONVERSATION) or None
