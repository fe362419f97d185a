"""Null for any optional field of any request is the same as leaving the field out, as the OpenAPI document promises.

Clients that write their objects whole send null for all that nobody set. The bodies below have every object that the
document knows, which is checked, and each optional field of each object is sent as null against a live server.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from compositions import write_config
from server_live import Live, live_server, post
from tiny_poolers import tiny_embedder, tiny_reranker

from server.openapi.document import document

PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
FUNCTION = {"name": "now", "description": "the time", "parameters": PARAMETERS, "strict": True}
OPENAI_TOOLS = [{"type": "function", "function": FUNCTION}]
CALL = {"id": "call_1", "type": "function", "index": 0, "function": {"name": "now", "arguments": "{}"}}
TURNS = [
    {"role": "user", "content": [{"type": "text", "text": "what time is it"}], "name": "me"},
    {"role": "assistant", "reasoning_content": "hm", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": "noon"},
    {"role": "assistant", "function_call": {"name": "now", "arguments": "{}"}},
    {"role": "function", "name": "now", "content": "noon"},
]
WISHES = {"prefer": ["general"], "exclude": [], "deadline_s": 60, "keep_alive_s": 60, "explain": True}
COMMON = {"temperature": 0, "coe": WISHES, "stream": False}
SCHEMA_FORMAT = {"type": "json_schema", "json_schema": {"name": "x", "description": "x", "strict": True, "schema": {}}}
ANTHROPIC_TURNS = [
    {"role": "user", "content": [{"type": "text", "text": "what time is it"}]},
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "hm"},
            {"type": "tool_use", "id": "1", "name": "now", "input": {}},
        ],
    },
    {
        "role": "user",
        "content": [
            {
                "type": "tool_result",
                "tool_use_id": "1",
                "is_error": False,
                "content": [{"type": "text", "text": "noon"}],
            }
        ],
    },
]
ANTHROPIC = {
    "messages": ANTHROPIC_TURNS,
    "tools": [{"type": "custom", "name": "now", "description": "the time", "input_schema": PARAMETERS}],
    "tool_choice": {"type": "none"},
    "thinking": {"type": "enabled", "budget_tokens": 1024, "display": "summarized"},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"const": 1}}},
    "coe": WISHES,
}
ITEMS = [
    {"role": "user", "content": [{"type": "input_text", "text": "what time is it"}]},
    {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
    {"type": "function_call", "call_id": "1", "name": "now", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "1", "output": [{"type": "input_text", "text": "noon"}]},
]
TEXT_FORMAT = {"type": "json_schema", "name": "x", "description": "x", "strict": True, "schema": {"const": 1}}
BODIES: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "/v1/chat/completions",
        {"messages": TURNS, "max_tokens": 2, "tools": OPENAI_TOOLS, "tool_choice": "none", **COMMON},
    ),
    ("/v1/chat/completions", {"messages": TURNS[:1], "max_tokens": 2, "response_format": SCHEMA_FORMAT, **COMMON}),
    (
        "/v1/chat/completions",
        {
            "messages": TURNS[:1],
            "max_tokens": 2,
            "stream": True,
            "stream_options": {"include_usage": True, "include_obfuscation": False},
        },
    ),
    ("/v1/completions", {"prompt": "one", "max_tokens": 2, "structured_outputs": {"choice": ["a", "b"]}, **COMMON}),
    ("/v1/messages", {**ANTHROPIC, "max_tokens": 2, "temperature": 0}),
    ("/v1/messages/count_tokens", ANTHROPIC),
    (
        "/v1/responses",
        {
            "input": ITEMS,
            "max_output_tokens": 2,
            "tools": [{"type": "function", **FUNCTION}],
            "tool_choice": "none",
            "text": {"format": TEXT_FORMAT},
            "reasoning": {"effort": "low"},
            **COMMON,
        },
    ),
    ("/v1/embeddings", {"model": "vectors", "input": ["one", "two"]}),
    ("/v1/rerank", {"model": "order", "query": "one", "documents": ["one", {"text": "two"}]}),
    ("/v1/route", {"messages": TURNS, "tools": OPENAI_TOOLS, "coe": WISHES}),
    ("/v1/route", {"prompt": "one"}),
    ("/tokenize", {"messages": TURNS[:1], "tools": OPENAI_TOOLS}),
    ("/tokenize", {"prompt": "one"}),
    ("/detokenize", {"model": "general", "tokens": [5, 6]}),
    ("/v1/feedback", {"request_id": "mine", "is_right": True, "category": "law", "comment": "yes"}),
)


class Place(NamedTuple):
    """A field of an object somewhere in a body."""

    path: tuple[str | int, ...]
    name: str


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory: pytest.TempPathFactory, llama_folder: Path) -> Iterator[Live]:
    """A server with an expert of each kind, which keeps feedback."""
    folder = tmp_path_factory.mktemp("nulls")
    pooled = {
        "vectors": ("embedding", tiny_embedder(folder / "vectors", "bert", mode="mean")),
        "order": ("rerank", tiny_reranker(folder / "order", "bert", num_labels=1)),
    }
    more = ['[telemetry]\nfeedback_file = "feedback.jsonl"']
    more += [f'[experts.{name}]\nsource = "{source}"\nkind = "{kind}"' for name, (kind, source) in pooled.items()]
    with live_server(write_config(folder, {"general": llama_folder}, "\n".join(more))) as server:
        made = post(server, "/v1/chat/completions", {"messages": TURNS[:1], "max_tokens": 1}, x_request_id="mine")
        assert made.status_code == 200
        yield server


def body_schema(path: str) -> dict[str, Any]:
    found: dict[str, Any] = document()["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return found


def resolved(schema: dict[str, Any], met: set[str]) -> Iterator[dict[str, Any]]:
    """Yield the alternatives of a schema, without references; `met` gets their names."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        met.add(name)
        yield from resolved(document()["components"]["schemas"][name], met)
    elif "anyOf" in schema and "properties" not in schema:
        for each in schema["anyOf"]:
            yield from resolved(each, met)
    else:
        yield schema


def optional_fields(
    schema: dict[str, Any], value: Any, met: set[str], at: tuple[str | int, ...] = ()
) -> Iterator[Place]:
    """Yield every field that may be null of every object in a body."""
    own: set[str] = set()
    for each in resolved(schema, own):
        if isinstance(value, dict) and "properties" in each:
            met |= own
            yield from (Place(at, name) for name in each["properties"] if name not in each.get("required", ()))
            for name, field in each["properties"].items():
                if name in value:
                    yield from optional_fields(field, value[name], met, (*at, name))
        if isinstance(value, list) and "items" in each:
            for number, item in enumerate(value):
                yield from optional_fields(each["items"], item, met, (*at, number))


def changed(body: dict[str, Any], place: Place, *, is_null: bool) -> dict[str, Any]:
    """Return the body with a field null, or left out."""
    copied = copy.deepcopy(body)
    holder: Any = copied
    for step in place.path:
        holder = holder[step]
    if is_null:
        holder[place.name] = None
    else:
        holder.pop(place.name, None)
    return copied


@pytest.mark.parametrize(("path", "body"), BODIES)
def test_null_for_an_optional_field_is_as_if_it_were_left_out(
    every_kind: Live, path: str, body: dict[str, Any]
) -> None:
    places = set(optional_fields(body_schema(path), body, set()))
    with httpx.Client(base_url=every_kind.url, timeout=60) as client:
        whole = client.post(path, json=body)
        assert whole.status_code == 200, whole.text
        for place in sorted(places, key=str):
            answered = client.post(path, json=changed(body, place, is_null=True))
            if answered.status_code != 200:  # some fields are needed beside others: a tool's result names its call
                left_out = client.post(path, json=changed(body, place, is_null=False))
                said = answered.json()["error"]["message"]
                assert left_out.status_code == answered.status_code, f"null for {place} is refused: {said}"
                assert left_out.json()["error"]["message"] == said


def test_the_bodies_have_every_object_that_the_document_knows() -> None:
    met: set[str] = set()
    for path, body in BODIES:
        list(optional_fields(body_schema(path), body, met))
    known: set[str] = set()
    for path, operations in document()["paths"].items():
        if "requestBody" in operations.get("post", {}):
            within(body_schema(path), known)
    objects = {name for name in known if "properties" in document()["components"]["schemas"][name]}
    assert objects == met


def within(schema: Any, known: set[str]) -> None:
    """Add the name of every schema that a schema leads to."""
    if isinstance(schema, dict):
        if "$ref" in schema and (name := schema["$ref"].rpartition("/")[2]) not in known:
            known.add(name)
            within(document()["components"]["schemas"][name], known)
        for each in schema.values():
            within(each, known)
    elif isinstance(schema, list):
        for each in schema:
            within(each, known)
