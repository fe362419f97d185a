"""What the client sends."""

from __future__ import annotations

import pytest

from coe.client import calls
from coe.errors import ConfigError


def test_a_text_is_a_users_turn_and_a_conversation_is_itself() -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}]
    assert calls.chat("hello", "coe", None, {}).body == {"model": "coe", "messages": turns[1:]}
    assert calls.chat(turns, "sql", None, {"seed": 1}).body == {"model": "sql", "messages": turns, "seed": 1}


def test_a_stream_asks_for_its_usage_too() -> None:
    body = calls.chat_body("hello", "coe", {"stream": False}, stream=True)
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})


def test_a_conversation_is_named_in_a_header() -> None:
    assert calls.route("hello", "coe", "c-1").headers == {"x-coe-conversation": "c-1"}
    assert calls.route("hello", "coe", None).headers == {}


def test_a_command_names_the_expert_and_what_to_do_with_it() -> None:
    call = calls.command("sql", "unpin")
    assert (call.method, call.path) == ("POST", "/admin/experts/sql/unpin")


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/", "//"])
def test_a_url_may_end_as_openais_clients_want_it(end: str) -> None:
    assert calls.root_of(f"http://box:8000{end}") == "http://box:8000"
    assert calls.root_of(f"https://box/models{end}") == "https://box/models"


@pytest.mark.parametrize("url", ["box:8000", "", "ftp://box"])
def test_what_is_no_url_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ConfigError, match="write one such as http"):
        calls.root_of(url)


def test_tools_forms_and_further_fields_are_sent_as_they_are() -> None:
    tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
    form = {"type": "json_object"}
    fields = {"tools": tools, "tool_choice": "required", "response_format": form, "extra_body": {"regex": "a+"}}
    body = calls.chat("hello", "coe", None, fields).body or {}
    assert {name: body[name] for name in ("tools", "tool_choice", "response_format", "regex")} == {
        "tools": tools,
        "tool_choice": "required",
        "response_format": form,
        "regex": "a+",
    }
    assert "extra_body" not in body


def test_one_text_is_a_list_of_one_and_vectors_are_asked_for_in_few_bytes() -> None:
    call = calls.embeddings("hello", "coe", None)
    assert call.body == {"model": "coe", "input": ["hello"], "encoding_format": "base64"}
    assert calls.embeddings(("a", "b"), "coe", 8).body == {
        "model": "coe",
        "input": ["a", "b"],
        "encoding_format": "base64",
        "dimensions": 8,
    }
