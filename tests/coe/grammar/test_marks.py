"""A text of marks is written token by token, and what is no token as text."""

from __future__ import annotations

from coe.grammar.marks import begins_with_a_token, marked

IDS = {"<|start|>": 3, "<|end|>": 4, "<think>": 5}


def test_tokens_are_written_by_their_number_and_the_rest_as_text() -> None:
    assert marked("<|end|><|start|>assistant", IDS, IDS) == '<[4]> <[3]> "assistant"'
    assert marked('say "<think>"', IDS, IDS) == r'"say \"" <[5]> "\""'
    assert marked("<|end|>", ("<|start|>",), IDS) == '"<|end|>"'
    assert marked("", IDS, IDS) == ""


def test_it_is_known_whether_a_token_begins_a_text() -> None:
    assert begins_with_a_token("<|end|><|start|>assistant", IDS)
    assert not begins_with_a_token("x<|end|>", IDS)
