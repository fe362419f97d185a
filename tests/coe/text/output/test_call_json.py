"""Calls in JSON: the words of the families, arguments as objects and as text, and what is none."""

from __future__ import annotations

from typing import Any

import pytest

from coe.text.output.call_json import arguments_text, call_of, calls_in
from coe.text.output.parts import Called


@pytest.mark.parametrize(
    "value",
    [
        {"name": "f", "arguments": {"a": 1}},
        {"name": "f", "parameters": {"a": 1}},
        {"tool_name": "f", "parameters": {"a": 1}},
        {"function": "f", "args": {"a": 1}},
        {"type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
    ],
)
def test_names_and_arguments_have_many_words(value: Any) -> None:
    assert call_of(value) == Called("f", '{"a": 1}')


@pytest.mark.parametrize("value", [None, 3, "f", [], {}, {"name": ""}, {"name": 3}, {"name": "f", "arguments": [1]}])
def test_what_is_no_call(value: Any) -> None:
    assert call_of(value) is None


def test_arguments_are_an_object_or_the_text_of_one() -> None:
    assert arguments_text({"ä": [1, None]}) == '{"ä": [1, null]}'
    assert arguments_text("") == arguments_text("{}") == "{}"
    for wrong in ("[1]", '{"a": 1} b', "{", '{"a": Infinity}', 1, None, {"a": float("inf")}):
        assert arguments_text(wrong) is None


def test_calls_may_follow_each_other_and_the_rest_is_kept() -> None:
    one, two = Called("f", "{}"), Called("g", "{}")
    assert calls_in('{"name": "f"}; {"name": "g"} and more') == ((one, two), "and more")
    assert calls_in('[{"name": "f"}, {"name": "g"}]') == ((one, two), "")
    assert calls_in('[{"name": "f"}, 3]') == ((), '[{"name": "f"}, 3]')
    assert calls_in("[" * 100_000)[0] == ()
