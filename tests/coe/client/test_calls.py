"""What the client sends."""

from __future__ import annotations

from coe.client import calls


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
