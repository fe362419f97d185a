"""Requests become GenerateRequests; what is not known or not supported is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from coe.errors import InvalidRequestError
from coe.types import Grammar, Message, Sampling, Tool, ToolChoice
from server.bodies import validated
from server.responses.requests import ResponseRequest

TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True, "description": None}


def read(**fields: Any) -> ResponseRequest:
    return validated(ResponseRequest, {"input": "hi", **fields})


def test_the_fields_are_passed_on() -> None:
    schema = {"type": "object"}
    asked = read(
        model="code",
        instructions="be kind",
        max_output_tokens=9,
        temperature=0.5,
        top_p=None,
        tools=[TOOL],
        tool_choice={"type": "function", "name": "f"},
        parallel_tool_calls=False,
        text={"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True}, "verbosity": "low"},
        reasoning={"effort": "none", "summary": "auto"},
        include=["message.output_text.logprobs", "reasoning.encrypted_content"],
        top_logprobs=2,
        user="me",
        truncation="disabled",
        background=False,
    ).generate_request("1", [{"role": "assistant", "content": "before", "type": "message"}])
    assert asked.messages == (Message("system", "be kind"), Message("assistant", "before"), Message("user", "hi"))
    assert asked.expert == "code"
    assert asked.sampling == Sampling(9, 0.5, num_logprobs=2)
    assert asked.tools == (Tool("f", "", {"type": "object"}, True),)
    assert asked.tool_choice == ToolChoice("required", "f")
    assert not asked.allows_parallel_calls
    assert asked.grammar == Grammar("json_schema", json.dumps(schema))
    assert asked.template_variables["reasoning_effort"] == "none"
    assert asked.template_variables["enable_thinking"] is False


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"max_tokens": 3}, "unknown field 'max_tokens'; did you mean"),
        ({"truncation": "auto"}, "truncation = 'auto' is not supported"),
        ({"background": True}, "background = True is not supported"),
        ({"tools": [{"type": "web_search"}]}, "a tool of type 'web_search'"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"reasoning": {"efort": "low"}}, "unknown field 'efort' in reasoning"),
    ],
)
def test_what_is_wrong_is_refused_by_name(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        read(**fields)
