"""The OpenAPI document: every endpoint with its body, its answers and its errors.

Requests are described by the models that check them, errors by the table that answers them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from coe.telemetry.events import KINDS
from server.anthropic.requests import HARMLESS_FOR_MESSAGES, NEUTRAL_FOR_MESSAGES, CountRequest, MessageRequest
from server.cache_control import CACHE_CONTROL
from server.failures import TABLE
from server.openai.embeddings import HARMLESS_FOR_EMBEDDINGS, EmbeddingRequest
from server.openai.requests import HARMLESS, NEUTRAL, ChatRequest, CompletionRequest
from server.openai.tokens import DetokenizeRequest, TokenizeRequest
from server.openapi import answers, dialects
from server.rerank import RerankBody
from server.responses.requests import HARMLESS_FOR_RESPONSES, NEUTRAL_FOR_RESPONSES, ResponseRequest
from server.routing import CONVERSATION, RouteRequest
from server.telemetry.events import LAST_EVENT_ID
from server.telemetry.feedback import FeedbackRequest

__all__ = ["document"]

JSON, TEXT, EVENTS, HTML = "application/json", "text/plain", "text/event-stream", "text/html"
JSONL = "application/jsonl"
REFUSED = (401, 403)  # at the door, for whoever needs a key
FORGED = (403, 415)  # a foreign page's
BODY = (400, 408, 413)
GENERATED = (404, 429, 503, 504)
HEADERS = (
    "retry-after",
    *(f"x-ratelimit-{fact}-{what}" for fact in ("limit", "remaining", "reset") for what in ("requests", "tokens")),
)
_REF = "#/components/schemas/{model}"


@dataclass(frozen=True, slots=True)
class _Operation:
    """One endpoint. `answer` None is text of the media type; `failure` is the shape of its errors."""

    method: Literal["get", "post", "delete"]
    path: str
    summary: str
    answer: type[BaseModel] | None
    errors: tuple[int, ...] = ()
    body: type[BaseModel] | None = None
    who: Literal["anybody", "key", "admin"] = "key"
    media: tuple[str, ...] = (JSON,)
    parameters: tuple[dict[str, Any], ...] = field(default=())
    failure: type[BaseModel] = answers.Error


def _in(where: str, name: str, schema: Mapping[str, Any], text: str) -> dict[str, Any]:
    return {"name": name, "in": where, "required": where == "path", "schema": dict(schema), "description": text}


CONVERSATION_HEADER = _in("header", CONVERSATION, {"type": "string"}, "your own name for the conversation")
CACHE_HEADER = _in(
    *("header", CACHE_CONTROL, {"type": "string"}),
    "no-cache: a new answer; no-store: nor is it kept; max-age: a kept one that is younger (RFC 9111)",
)
NAME = _in("path", "name", {"type": "string", "minLength": 1, "pattern": r"^[^/]+$"}, "an expert, or an alias of one")
COMMAND = _in("path", "command", {"enum": ["load", "unload", "pin", "unpin"]}, "what to do with it")
KINDS_WANTED = _in("query", "kinds", {"type": "string"}, f"only these, joined by commas: {', '.join(KINDS)}")
FORMAT = _in("query", "format", {"enum": ["json", "jsonl"]}, "jsonl: what `coe router retrain --decisions` reads")
LIMIT = _in("query", "limit", {"type": "integer", "minimum": 0}, "only so many, the newest")
RESPONSE = _in("path", "name", {"type": "string", "minLength": 1, "pattern": r"^[^/]+$"}, "a response's id")
ITEM_LIMIT = _in("query", "limit", {"type": "integer", "minimum": 1, "maximum": 100}, "only so many, else 20")
ORDER = _in("query", "order", {"enum": ["asc", "desc"]}, "the oldest first, or the newest (the default)")
AFTER = _in("query", "after", {"type": "string"}, "those after the item of this id")
LAST_EVENT = _in("header", LAST_EVENT_ID, {"type": "string"}, "the id of the last event that the client has")
ASKED = (*BODY, *REFUSED, 415)

_OF_MESSAGES = (NEUTRAL_FOR_MESSAGES, HARMLESS_FOR_MESSAGES)
_OF_TEXTS: tuple[Mapping[str, tuple[Any, ...]], Iterable[str]] = ({}, HARMLESS_FOR_EMBEDDINGS)
_OF_ANSWERS = (NEUTRAL, HARMLESS)
# what is accepted at a neutral value and what is ignored; by other bodies nothing
IGNORED: Mapping[type[BaseModel], tuple[Mapping[str, tuple[Any, ...]], Iterable[str]]] = {
    ChatRequest: _OF_ANSWERS,
    CompletionRequest: _OF_ANSWERS,
    EmbeddingRequest: _OF_TEXTS,
    RerankBody: _OF_TEXTS,
    MessageRequest: _OF_MESSAGES,
    CountRequest: _OF_MESSAGES,
    ResponseRequest: (NEUTRAL_FOR_RESPONSES, HARMLESS_FOR_RESPONSES),
}
OPERATIONS = (
    _Operation(
        *("post", "/v1/chat/completions", "Answer a conversation", answers.ChatCompletion),
        errors=(*ASKED, *GENERATED),
        body=ChatRequest,
        media=(JSON, EVENTS),
        parameters=(CONVERSATION_HEADER, CACHE_HEADER),
    ),
    _Operation(
        *("post", "/v1/completions", "Continue a text", answers.Completion),
        errors=(*ASKED, *GENERATED),
        body=CompletionRequest,
        media=(JSON, EVENTS),
        parameters=(CONVERSATION_HEADER, CACHE_HEADER),
    ),
    _Operation(
        *("post", "/v1/messages", "Answer a conversation, in Anthropic's shape", dialects.AnthropicMessage),
        errors=(*ASKED, *GENERATED),
        body=MessageRequest,
        media=(JSON, EVENTS),
        parameters=(CONVERSATION_HEADER, CACHE_HEADER),
        failure=dialects.AnthropicError,
    ),
    _Operation(
        *("post", "/v1/messages/count_tokens", "Count the tokens of a prompt", dialects.AnthropicCount),
        errors=(*ASKED, 404, 503),
        body=CountRequest,
        failure=dialects.AnthropicError,
    ),
    _Operation(
        *("post", "/v1/responses", "Answer items, and keep the response", dialects.Response),
        errors=(*ASKED, *GENERATED),
        body=ResponseRequest,
        media=(JSON, EVENTS),
        parameters=(CONVERSATION_HEADER, CACHE_HEADER),
    ),
    _Operation(
        *("get", "/v1/responses/{name}", "A response that was kept", dialects.Response, (400, *REFUSED, 404)),
        parameters=(RESPONSE,),
    ),
    _Operation(
        *("delete", "/v1/responses/{name}", "Forget a response", dialects.ResponseDeleted, (*REFUSED, 404, 415)),
        parameters=(RESPONSE,),
    ),
    _Operation(
        *("get", "/v1/responses/{name}/input_items", "What it was the answer to", dialects.InputItems),
        errors=(400, *REFUSED, 404),
        parameters=(RESPONSE, ITEM_LIMIT, ORDER, AFTER),
    ),
    _Operation(
        *("post", "/v1/embeddings", "Embed texts", answers.Embeddings),
        errors=(*ASKED, *GENERATED),
        body=EmbeddingRequest,
    ),
    _Operation(
        *("post", "/v1/rerank", "Order documents by their relevance to a query", answers.Reranking),
        errors=(*ASKED, *GENERATED),
        body=RerankBody,
    ),
    _Operation(
        *("post", "/v1/route", "Say which expert would answer, and why", answers.Route),
        errors=(*ASKED, 404, 429, 503),
        body=RouteRequest,
        parameters=(CONVERSATION_HEADER,),
    ),
    _Operation(
        *("post", "/tokenize", "The token ids that an expert would be given", answers.Tokenized),
        errors=(*ASKED, 404, 503),
        body=TokenizeRequest,
    ),
    _Operation(
        *("post", "/detokenize", "The text of token ids", answers.Detokenized),
        errors=(*ASKED, 404, 503),
        body=DetokenizeRequest,
    ),
    _Operation(
        *("post", "/v1/feedback", "Say whether the decision on a request of yours was right", answers.FeedbackKept),
        errors=(*ASKED, 404, 429, 503),
        body=FeedbackRequest,
    ),
    _Operation("get", "/v1/models", "The composition and its experts", answers.ModelList, REFUSED),
    _Operation("get", "/v1/models/{name}", "One of them", answers.ModelObject, (*REFUSED, 404), parameters=(NAME,)),
    _Operation("get", "/admin/experts", "Where every expert is", answers.Experts, REFUSED, who="admin"),
    _Operation(
        *("post", "/admin/experts/{name}/{command}", "Load, unload, pin or unpin an expert", answers.ExpertCommanded),
        errors=(400, *REFUSED, 404, 415, 503),
        who="admin",
        parameters=(NAME, COMMAND),
    ),
    _Operation(
        *("get", "/admin/events", "A snapshot, and then what happens, as server-sent events", None),
        errors=(400, *REFUSED),
        who="admin",
        media=(EVENTS,),
        parameters=(KINDS_WANTED, LAST_EVENT),
    ),
    _Operation(
        *("get", "/admin/decisions", "The last decisions, the oldest first", answers.Decisions),
        errors=(400, *REFUSED),
        who="admin",
        media=(JSON, JSONL),
        parameters=(LIMIT, FORMAT),
    ),
    _Operation(
        *("post", "/admin/drain", "Take no more requests; when those that run have ended, the process ends"),
        answer=answers.Drained,
        errors=(*REFUSED, 415),
        who="admin",
    ),
    _Operation("get", "/admin/store", "The folder of imported weights", answers.Store, REFUSED, who="admin"),
    _Operation("get", "/admin/answers", "The answer cache", answers.Answers, REFUSED, who="admin"),
    _Operation(
        *("post", "/admin/answers/clear", "Forget every kept answer", answers.AnswersCleared),
        errors=(*REFUSED, 415),
        who="admin",
    ),
    _Operation("get", "/metrics", "Counters as Prometheus reads them", None, REFUSED, who="admin", media=(TEXT,)),
    _Operation("get", "/health", "Whether the process is well", answers.Health, (403, 503), who="anybody"),
    _Operation("get", "/ready", "Whether experts can be asked", answers.Ready, (403, 503), who="anybody"),
    _Operation("get", "/", "A page to try it with", None, (403,), who="anybody", media=(HTML,)),
)


@cache
def document() -> dict[str, Any]:
    """Return the document as JSON has it."""
    schemas = _schemas()
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "coe", "version": "1", "description": "Many experts behind one OpenAI-style endpoint."},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": _KEYS, "headers": _HEADERS},
    }


_EVENT = {
    "type": "object",
    "description": "server-sent events: `data` is a chunk or [DONE]; an event `error` has an Error",
    "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
}
_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "an API key, where the server asks for one"},
    "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}
_HEADERS = {
    "x-request-id": {"schema": {"type": "string"}, "description": "also in the server's log"},
    **{name: {"schema": {"type": "string"}} for name in HEADERS},
}


def _described(operation: _Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "security": [] if operation.who == "anybody" else [{"bearer": []}, {"header": []}],
        "responses": {
            "200": _answer(operation),
            **{str(status): _error(status, operation) for status in operation.errors},
        },
    }
    if operation.who == "admin":
        described["description"] = "Where the server asks for keys, this needs an operator's."
    if operation.parameters:
        described["parameters"] = list(operation.parameters)
    if operation.body:
        described["requestBody"] = {"required": True, "content": {JSON: {"schema": _ref(operation.body)}}}
    return described


def _answer(operation: _Operation) -> dict[str, Any]:
    schema = _ref(operation.answer) if operation.answer else {"type": "string"}
    content = {
        kind: {"schema": _EVENT if kind == EVENTS else {"type": "string"} if kind == JSONL else schema}
        for kind in operation.media
    }
    return {"description": operation.summary, "content": content, "headers": _header_refs("x-request-id")}


def _error(status: int, operation: _Operation) -> dict[str, Any]:
    """Return the failures of a status; /health and /ready answer 503 in their own shape."""
    codes = {rule.code or rule.kind for rule in TABLE if rule.status == status}
    shape = operation.answer if operation.who == "anybody" and status == 503 else operation.failure
    assert shape is not None
    return {
        "description": ", ".join(sorted(codes)),
        "content": {JSON: {"schema": _ref(shape)}},
        "headers": _header_refs("x-request-id", *(HEADERS if status == 429 else ())),
    }


def _header_refs(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}


def _schemas() -> dict[str, Any]:
    requests = [operation.body for operation in OPERATIONS if operation.body]
    failures = dict.fromkeys(each.failure for each in OPERATIONS)
    written: list[type[BaseModel]] = [*failures, *(each.answer for each in OPERATIONS if each.answer)]
    schemas = _definitions(requests, "validation") | _definitions(written, "serialization")
    for model in requests:
        _complete(schemas[model.__name__], *IGNORED.get(model, ({}, ())))
    asked = schemas["RouteRequest"]
    asked["properties"] = schemas["ChatRequest"]["properties"] | asked["properties"]  # one can be asked as it is
    return schemas


def _definitions(models: Iterable[type[BaseModel]], mode: Literal["validation", "serialization"]) -> dict[str, Any]:
    _, found = models_json_schema([(model, mode) for model in models], ref_template=_REF)
    definitions: dict[str, Any] = found["$defs"]
    return definitions


def _complete(schema: dict[str, Any], neutral: Mapping[str, tuple[Any, ...]], harmless: Iterable[str]) -> None:
    """Add to a request's schema what its model does not say: null for a default, and what is accepted and ignored."""
    properties, required = schema["properties"], schema.get("required", [])
    for name, value in properties.items():
        if name not in required and {"type": "null"} not in value.get("anyOf", []):
            properties[name] = {"anyOf": [value, {"type": "null"}]}
    properties |= {
        name: {"enum": [*(each for each in values if each is not None), None]}
        for name, values in neutral.items()
        if name not in properties
    }
    ignored = {name: {"description": "accepted, and changes no answer"} for name in sorted(harmless)}
    properties |= {name: value for name, value in ignored.items() if name not in properties}
    schema["additionalProperties"] = False
