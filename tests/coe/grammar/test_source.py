"""What a client may send as a grammar, and what llguidance is given for it."""

from __future__ import annotations

import json

import pytest

from coe.errors import InvalidRequestError
from coe.grammar.source import MAX_CHARS, Lead, written
from coe.types import Grammar, ThoughtMarks


def test_json_has_bounded_white_space_and_a_client_cannot_make_the_library_lenient() -> None:
    schema = {"type": "integer", "x-guidance": {"lenient": True}}
    for grammar in (Grammar("json_object"), Grammar("json_schema", json.dumps(schema))):
        (found,) = json.loads(written(grammar))["grammars"]
        assert found["json_schema"]["x-guidance"]["lenient"] is False
        assert found["json_schema"]["x-guidance"]["whitespace_pattern"].endswith("{1,40}")


def test_a_grammar_alone_has_no_other_rules_and_one_after_thoughts_has() -> None:
    grammar, marks = Grammar("regex", "a+"), ThoughtMarks("<think>", "</think>")
    assert len(json.loads(written(grammar))["grammars"]) == 1
    assert len(json.loads(written(grammar, Lead(ThoughtMarks("", "</think>"))))["grammars"]) == 1
    outer, answer = json.loads(written(grammar, Lead(marks, True)))["grammars"]
    assert outer["lark_grammar"].startswith("start: thought SPACE? @answer")
    assert answer["name"] == "answer"
    outer, _ = json.loads(written(grammar, Lead(marks, False, (("</think>", 7),))))["grammars"]
    assert outer["lark_grammar"].startswith('start: ("<think>" thought SPACE?)? @answer')
    assert "<[7]>" in outer["lark_grammar"]
    outer, _ = json.loads(written(grammar, Lead(mark_ids=(("<|message|>", 9),), opening="final<|message|>")))[
        "grammars"
    ]
    assert outer["lark_grammar"] == 'start: "final" <[9]> @answer'
    assert len(json.loads(written(Grammar("calls", "start: /a/"), Lead(opening="final")))["grammars"]) == 1


@pytest.mark.parametrize(
    ("kind", "source", "said"),
    [
        ("json_schema", "{", "no JSON"),
        ("json_schema", "[]", "a schema is a JSON object, not list"),
        ("json_schema", "false", "not bool"),
        ("json_schema", "[" * 5000 + "]" * 5000, "cannot be used"),
        ("json_schema", '{"a":' * 120 + "1" + "}" * 120, "more than 100 deep"),
        ("choice", "[]", "at least one"),
        ("choice", '["a", ""]', "none empty"),
        ("choice", '{"a": 1}', "list of texts"),
        ("regex", "a" * (MAX_CHARS + 1), "100,001 characters"),
    ],
)
def test_what_can_be_no_grammar_is_refused_by_what_it_is(kind: str, source: str, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said) as caught:
        written(Grammar(kind, source))  # type: ignore[arg-type]
    assert caught.value.param == ("response_format" if kind == "json_schema" else "structured_outputs")
