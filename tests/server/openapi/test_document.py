"""The document describes every endpoint there is, and what they answer has the shapes it says."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from fastapi.routing import APIRoute
from openai.resources.responses import Responses
from pydantic import BaseModel
from server_live import Live, post

from server.admin import admin_routes
from server.anthropic.requests import HARMLESS_FOR_MESSAGES
from server.anthropic.routes import anthropic_routes
from server.health import health_routes
from server.openai.embeddings import HARMLESS_FOR_EMBEDDINGS, embedding_routes
from server.openai.requests import HARMLESS
from server.openai.routes import openai_routes
from server.openai.tokens import token_routes
from server.openapi import answers, dialects
from server.openapi.document import document
from server.page.routes import page_routes
from server.rerank import rerank_routes
from server.responses.requests import HARMLESS_FOR_RESPONSES
from server.responses.routes import response_routes
from server.responses.store import ResponseStore
from server.routing import routing_routes
from server.telemetry.decisions import decision_routes
from server.telemetry.events import event_routes
from server.telemetry.feedback import feedback_routes
from server.telemetry.http_counts import HttpCounts

PROMPT = [{"role": "user", "content": "What is the capital of France?"}]


def test_every_endpoint_is_in_it_and_no_other(live: Live) -> None:
    rooms = (
        openai_routes(live.runtime, None, 1.0),  # type: ignore[arg-type]
        anthropic_routes(live.runtime, None, 1.0),  # type: ignore[arg-type]
        response_routes(live.runtime, None, 1.0, ResponseStore(0)),  # type: ignore[arg-type]
        embedding_routes(live.runtime, None),  # type: ignore[arg-type]
        rerank_routes(live.runtime, None),  # type: ignore[arg-type]
        token_routes(live.runtime, None),  # type: ignore[arg-type]
        routing_routes(live.runtime, None),  # type: ignore[arg-type]
        admin_routes(live.runtime),
        event_routes(live.runtime, 1.0),
        decision_routes(live.runtime),
        feedback_routes(live.runtime, None, {}),  # type: ignore[arg-type]
        health_routes(live.runtime, HttpCounts()),
    )
    routes = [route for room in rooms for route in room.routes if isinstance(route, APIRoute)]
    routes += [
        each for each in page_routes().routes if isinstance(each, APIRoute) and each.path == "/"
    ]  # no files of it
    there = {(method.lower(), route.path) for route in routes for method in route.methods}
    assert there == {(method, path) for path, operations in document()["paths"].items() for method in operations}
    assert httpx.get(f"{live.url}/openapi.json").json() == document()


def test_every_reference_has_its_target() -> None:
    found = document()

    def check(value: Any) -> None:
        if isinstance(value, dict):
            if "$ref" in value:
                target = found
                for part in value["$ref"].removeprefix("#/").split("/"):
                    target = target[part]
            for item in value.values():
                check(item)
        elif isinstance(value, list):
            for item in value:
                check(item)

    check(found)


@pytest.mark.parametrize(
    ("method", "path", "body", "shape"),
    [
        (
            "POST",
            "/v1/chat/completions",
            {"messages": PROMPT, "max_tokens": 2, "logprobs": True},
            answers.ChatCompletion,
        ),
        ("POST", "/v1/messages", {"messages": PROMPT, "max_tokens": 2}, dialects.AnthropicMessage),
        ("POST", "/v1/responses", {"input": "hi", "max_output_tokens": 2}, dialects.Response),
        ("GET", "/v1/responses/resp_unknown", None, answers.Error),
        ("POST", "/v1/messages/count_tokens", {"messages": PROMPT}, dialects.AnthropicCount),
        ("POST", "/v1/messages", {"messages": PROMPT}, dialects.AnthropicError),
        ("POST", "/v1/completions", {"prompt": "hi", "max_tokens": 2, "logprobs": 1}, answers.Completion),
        ("POST", "/v1/route", {"prompt": "hi"}, answers.Route),
        ("GET", "/v1/models", None, answers.ModelList),
        ("GET", "/v1/models/other", None, answers.ModelObject),
        ("GET", "/admin/experts", None, answers.Experts),
        ("POST", "/admin/experts/other/load", {}, answers.ExpertCommanded),
        ("GET", "/admin/store", None, answers.Store),
        ("GET", "/admin/answers", None, answers.Answers),
        ("POST", "/admin/answers/clear", {}, answers.AnswersCleared),
        ("GET", "/health", None, answers.Health),
        ("GET", "/ready", None, answers.Ready),
        ("GET", "/nowhere", None, answers.Error),
        ("POST", "/v1/route", {}, answers.Error),
    ],
)
def test_answers_have_the_shapes_that_it_says(
    live: Live, method: str, path: str, body: object, shape: type[BaseModel]
) -> None:
    response = post(live, path, body) if method == "POST" else httpx.get(f"{live.url}{path}")
    described = shape.model_validate_json(response.content)
    left_out = set(response.json()) - set(type(described).model_fields)
    assert left_out <= {"system_fingerprint"}


def test_requests_say_what_is_ignored_and_that_null_is_the_default() -> None:
    chat = document()["components"]["schemas"]["ChatRequest"]
    assert chat["additionalProperties"] is False
    assert {"user", "tools", "metadata", "temperature"} <= set(chat["properties"])
    assert {"type": "null"} in chat["properties"]["stream"]["anyOf"]
    assert chat["required"] == ["messages"]


def test_fields_that_change_nothing_are_those_that_the_page_lists() -> None:
    page = (Path(__file__).parents[3] / "docs" / "api.md").read_text(encoding="utf-8")
    sections = {section.partition("\n")[0]: section for section in page.split("\n## ")}
    for title, harmless in (
        ("Requests", HARMLESS),
        ("Responses", HARMLESS_FOR_RESPONSES),
        ("Anthropic's messages", HARMLESS_FOR_MESSAGES),
        ("Embeddings and reranking", HARMLESS_FOR_EMBEDDINGS),
    ):
        assert [name for name in sorted(harmless) if f"`{name}`" not in sections[title]] == []


@pytest.mark.parametrize(
    ("kind", "create", "unsupported"),
    [
        ("ChatRequest", openai.resources.chat.Completions.create, set()),
        ("CompletionRequest", openai.resources.Completions.create, set()),
        ("EmbeddingRequest", openai.resources.Embeddings.create, set()),
        ("ResponseRequest", Responses.create, {"access_programs", "image"}),
        ("MessageRequest", anthropic.resources.Messages.create, set()),
    ],
)
def test_every_field_that_the_official_packages_send_is_known(
    kind: str, create: Callable[..., Any], unsupported: set[str]
) -> None:
    """What is not supported is refused as that, and not as a field that nobody knows."""
    own = {"self", "extra_headers", "extra_query", "extra_body", "timeout"}
    sent = set(inspect.signature(create).parameters) - own
    assert sent - set(document()["components"]["schemas"][kind]["properties"]) <= unsupported
