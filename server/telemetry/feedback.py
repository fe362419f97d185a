"""POST /v1/feedback: somebody's word on the decision that answered a request of their own.

Owns the body's form, whose request may be judged, and what an expert that is named as the right one means: the one
category that leads to it. Knows nothing about the file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field, StrictBool, StringConstraints

from coe.errors import InvalidRequestError, UnknownRequestError, shown
from coe.runtime import Runtime
from coe.telemetry.feedback import Said
from server.access.caller import caller_of
from server.bodies import BodyReader, validated
from server.openai.fields import KnownFields

__all__ = ["FeedbackRequest", "feedback_routes"]

PREFIXES = ("chatcmpl-", "cmpl-", "resp_", "msg_")  # before a request's own id, in answers
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class FeedbackRequest(KnownFields):
    """The body: which request, whether its expert was right, and which one or which category is.

    `request_id` is the answer's `id`, or the header `x-request-id`.
    """

    request_id: Name
    is_right: StrictBool
    expert: Name | None = None
    category: Name | None = None
    comment: Annotated[str, Field(max_length=2000)] | None = None


def feedback_routes(runtime: Runtime, read_body: BodyReader, category_experts: Mapping[str, str]) -> APIRouter:
    """Return the endpoint; `category_experts` is which expert answers each category."""
    routes = APIRouter()

    @routes.post("/v1/feedback")
    async def feedback(request: Request) -> dict[str, Any]:
        said = validated(FeedbackRequest, await read_body(request))
        if (file := runtime.telemetry.feedback) is None:
            raise InvalidRequestError("this server keeps no feedback; its operator sets [telemetry] feedback_file")
        decided = runtime.telemetry.decisions.find(_bare(said.request_id), caller_of(request).owner)
        if decided is None:
            raise UnknownRequestError(
                f"no decision on a request {shown(said.request_id)} of yours is known; the server knows the last "
                "ones of its present run ([telemetry] num_decisions)",
                param="request_id",
            )
        expert = None if said.expert is None else runtime.experts.name_of(said.expert)
        category = said.category or (None if expert is None else _category_of(expert, category_experts))
        await asyncio.to_thread(file.append, Said(decided.id, said.is_right, category, expert, said.comment))
        return {"ok": True, "id": decided.id, "category": category}

    return routes


def _bare(name: str) -> str:
    """Return a request's own id for an answer's."""
    return next((name.removeprefix(prefix) for prefix in PREFIXES if name.startswith(prefix)), name)


def _category_of(expert: str, category_experts: Mapping[str, str]) -> str:
    """Return the one category that leads to an expert; raises InvalidRequestError where there are others or none."""
    categories = sorted(category for category, each in category_experts.items() if each == expert)
    if len(categories) != 1:
        which = f"{len(categories)} categories ({', '.join(categories)})" if categories else "no category"
        raise InvalidRequestError(f"{which} lead to expert {shown(expert)}; send `category`", param="expert")
    return categories[0]
