"""OpenAI's endpoints for responses: make one, and retrieve, list the input of or delete one that was kept."""

from __future__ import annotations

import json
import uuid
from typing import Any

from fastapi import APIRouter, Request, Response

from coe.errors import InvalidRequestError, shown
from coe.runtime import Runtime
from server.access.caller import caller_of
from server.bodies import BodyReader, check_num_messages, validated
from server.generation.respond import Generation, respond
from server.responses.answers import ResponseAnswer
from server.responses.items import named_items
from server.responses.requests import ResponseRequest
from server.responses.store import ResponseStore
from server.routing import conversation_of

__all__ = ["response_routes"]

MOST_LISTED = 100


def response_routes(runtime: Runtime, read_body: BodyReader, keep_alive_s: float, store: ResponseStore) -> APIRouter:
    """Return the endpoints; `keep_alive_s` is the time between comments in a stream that is waiting."""
    routes = APIRouter()

    @routes.post("/v1/responses")
    async def create(request: Request) -> Response:
        body = await read_body(request)
        check_num_messages(body, runtime.experts.longest_context, "input")
        asked = validated(ResponseRequest, body)
        caller, name = caller_of(request), uuid.uuid4().hex
        previous = asked.previous_response_id
        before = [] if previous is None else store.find(caller.owner, previous, "previous_response_id").items

        def keep(response: dict[str, Any]) -> None:
            if asked.store:
                store.keep(caller.owner, response, [*before, *named_items(body["input"])])

        generation = Generation(
            [asked.generate_request(name, before, caller, conversation_of(request))],
            lambda routed: ResponseAnswer(name, asked, routed, keep),
            streams=asked.stream,
        )
        return await respond(runtime, request, generation, keep_alive_s)

    _add_kept(routes, store)
    return routes


def _add_kept(routes: APIRouter, store: ResponseStore) -> None:
    @routes.get("/v1/responses/{name}")
    async def retrieve(request: Request, name: str) -> Any:
        if request.query_params.get("stream") == "true":
            raise InvalidRequestError("stream = true: a kept response is whole; leave it out", param="stream")
        return json.loads(store.find(caller_of(request).owner, name).body)

    @routes.delete("/v1/responses/{name}")
    async def delete(request: Request, name: str) -> dict[str, Any]:
        store.delete(caller_of(request).owner, name)
        return {"id": name, "object": "response", "deleted": True}

    @routes.get("/v1/responses/{name}/input_items")
    async def input_items(
        request: Request, name: str, limit: str = "20", order: str = "desc", after: str | None = None
    ) -> dict[str, Any]:
        if order not in ("asc", "desc"):
            raise InvalidRequestError(f"order {shown(order)} is not asc or desc", param="order")
        items = store.find(caller_of(request).owner, name).input_items
        return _page(items if order == "asc" else items[::-1], _limit(limit), after)


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_LISTED:
        raise InvalidRequestError(f"limit {shown(text)} is no number from 1 to {MOST_LISTED}", param="limit")
    return int(text)


def _page(items: list[dict[str, Any]], limit: int, after: str | None) -> dict[str, Any]:
    ids = [item["id"] for item in items]
    if after is not None and after not in ids:
        raise InvalidRequestError(f"after {shown(after)} is none of the items", param="after")
    start = 0 if after is None else ids.index(after) + 1
    page = items[start : start + limit]
    ends = {"first_id": page[0]["id"] if page else None, "last_id": page[-1]["id"] if page else None}
    return {"object": "list", "data": page, **ends, "has_more": start + limit < len(items)}
