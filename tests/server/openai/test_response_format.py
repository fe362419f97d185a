"""Requests that ask for a form: OpenAI's field, vLLM's names, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from coe.errors import InvalidRequestError
from coe.types import GenerateRequest, Grammar
from server.bodies import validated
from server.openai.requests import ChatRequest, CompletionRequest

SCHEMA = {"type": "object", "properties": {"b": {"type": "integer"}, "a": {"type": "string"}}}


def chat(**fields: Any) -> GenerateRequest:
    body = {"messages": [{"role": "user", "content": "hello"}], **fields}
    return validated(ChatRequest, body).generate_request("r")


def completion(**fields: Any) -> GenerateRequest:
    (only,) = validated(CompletionRequest, {"prompt": "hello", **fields}).generate_requests("r", ["hello"])
    return only


@pytest.mark.parametrize("make", [chat, completion])
@pytest.mark.parametrize(
    ("fields", "grammar"),
    [
        ({}, None),
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": None, "guided_json": None, "structured_outputs": None}, None),
        ({"structured_outputs": {"json": None, "json_object": False}}, None),
        ({"response_format": {"type": "json_object"}}, Grammar("json_object")),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "strict": True, "schema": SCHEMA},
                }
            },
            Grammar("json_schema", json.dumps(SCHEMA)),
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "description": "y"}}},
            Grammar("json_schema", "{}"),
        ),
        ({"guided_json": SCHEMA}, Grammar("json_schema", json.dumps(SCHEMA))),
        ({"guided_json": '{"type": "integer"}'}, Grammar("json_schema", '{"type": "integer"}')),
        ({"guided_regex": "a+"}, Grammar("regex", "a+")),
        ({"guided_choice": ["a", "é"]}, Grammar("choice", json.dumps(["a", "é"]))),
        ({"guided_grammar": 'start: "a"'}, Grammar("lark", 'start: "a"')),
        ({"structured_outputs": {"json": SCHEMA}}, Grammar("json_schema", json.dumps(SCHEMA))),
        ({"structured_outputs": {"regex": "a+"}}, Grammar("regex", "a+")),
        ({"structured_outputs": {"choice": ["a"]}}, Grammar("choice", '["a"]')),
        ({"structured_outputs": {"grammar": 'root ::= "a"'}}, Grammar("lark", 'root ::= "a"')),
        ({"structured_outputs": {"json_object": True}}, Grammar("json_object")),
    ],
)
def test_every_name_asks_for_its_form(
    make: Callable[..., GenerateRequest], fields: dict[str, Any], grammar: Grammar | None
) -> None:
    assert make(**fields).grammar == grammar


@pytest.mark.parametrize(
    ("fields", "said", "param"),
    [
        ({"response_format": {"type": "xml"}}, "response_format.type", "response_format"),
        ({"response_format": {"type": "json_schema"}}, "needs json_schema with a schema", "response_format"),
        (
            {"response_format": {"type": "text", "json_schema": {"schema": {}}}},
            "its type is 'text'; send type 'json_schema'",
            "response_format",
        ),
        ({"response_format": {"typ": "text"}}, "'typ' in response_format; did you mean 'type'?", "response_format"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schem": {}}}},
            "'schem' in response_format; did you mean 'schema'?",
            "response_format",
        ),
        (
            {"structured_outputs": {"json_obj": True}},
            "'json_obj' in structured_outputs; did you mean 'json_object'?",
            "structured_outputs",
        ),
        ({"guided_choice": ["a"], "guided_regex": "a"}, "guided_regex and guided_choice each", "guided_choice"),
        (
            {"response_format": {"type": "json_object"}, "structured_outputs": {"regex": "a", "choice": ["b"]}},
            "response_format and structured_outputs.regex and structured_outputs.choice each",
            "structured_outputs",
        ),
    ],
)
def test_what_asks_for_nothing_or_for_two_things_is_refused_by_name(
    fields: dict[str, Any], said: str, param: str
) -> None:
    with pytest.raises(InvalidRequestError, match=re.escape(said)) as caught:
        chat(**fields)
    assert caught.value.param == param
