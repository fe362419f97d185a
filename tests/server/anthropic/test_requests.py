"""Anthropic's requests become GenerateRequests; what is not known or not supported is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from coe.errors import InvalidRequestError
from coe.types import Grammar, Sampling
from server.anthropic.requests import CountRequest, MessageRequest
from server.bodies import validated

ASKED = {"model": "code", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}


def read(**fields: Any) -> MessageRequest:
    return validated(MessageRequest, {**ASKED, **fields})


def test_the_fields_are_passed_on() -> None:
    schema = {"type": "object"}
    asked = read(
        stop_sequences=["a", "b", "c", "d", "e"],
        temperature=0.5,
        top_k=3,
        top_p=None,
        metadata={"user_id": "me"},
        service_tier="auto",
        thinking={"type": "enabled", "budget_tokens": 1024},
        output_config={"effort": "low", "format": {"type": "json_schema", "schema": schema}},
        tools=[{"name": "f", "input_schema": schema}],
        tool_choice={"type": "auto", "disable_parallel_tool_use": True},
        coe={"exclude": ["law"]},
    ).generate_request("1")
    assert asked.expert == "code"
    assert asked.sampling == Sampling(9, 0.5, top_k=3, stop=("a", "b", "c", "d", "e"))
    assert asked.grammar == Grammar("json_schema", json.dumps(schema))
    assert asked.template_variables == {"enable_thinking": True, "thinking": True, "reasoning_effort": "low"}
    assert not asked.allows_parallel_calls
    assert asked.exclude == ("law",)
    assert asked.prompt_form.begins_answer


@pytest.mark.parametrize(("thinking", "said"), [("disabled", False), ("adaptive", None)])
def test_thinking_is_the_templates(thinking: str, said: bool | None) -> None:
    asked = read(thinking={"type": thinking}).generate_request("1")
    assert asked.template_variables.get("enable_thinking") is said


def test_a_last_turn_of_the_assistants_is_gone_on_with() -> None:
    turns = [*ASKED["messages"], {"role": "assistant", "content": "The answer is"}]  # type: ignore[misc]
    assert read(messages=turns).generate_request("1").prompt_form.continues_last


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"max_token": 3}, "unknown field 'max_token'; did you mean"),
        ({"mcp_servers": [{"name": "x"}]}, "mcp_servers = .* is not supported"),
        ({"container": "c"}, "container = 'c' is not supported"),
        ({"thinking": {"type": "between_tools"}}, "thinking.type"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"coe": {"priority": 1}}, "coe.priority is not supported"),
    ],
)
def test_what_is_wrong_is_refused_by_name(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        read(**fields)


def test_a_count_needs_no_max_tokens_and_takes_no_sampling() -> None:
    body = {"messages": ASKED["messages"], "system": "be kind"}
    assert len(validated(CountRequest, body).generate_request("1").messages) == 2
    with pytest.raises(InvalidRequestError, match="unknown field 'temperature'"):
        validated(CountRequest, {**body, "temperature": 1})
