"""Thoughts are told apart where the prompt opened them and where the answer does, however the text is cut."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from coe.text.output.thoughts import ThoughtReader
from coe.types import ThoughtMarks

THINK = ThoughtMarks("<think>", "</think>")


def read(pieces: Iterable[str], marks: ThoughtMarks = THINK, *, is_thinking: bool = False) -> tuple[str, str]:
    reader = ThoughtReader(marks, is_thinking=is_thinking)
    splits = [*map(reader.push, pieces), reader.finish()]
    return "".join(each.thinking for each in splits), "".join(each.rest for each in splits)


@pytest.mark.parametrize(
    ("text", "is_thinking", "expected"),
    [
        ("<think>\nHm, 2 + 2.\n</think>\n\nFour.", False, ("Hm, 2 + 2.", "Four.")),
        ("\n<think>\n\n</think>\n\nFour.\n", False, ("", "Four.\n")),  # Qwen3 without thinking
        ("Hm.\n</think>\n\nFour.", True, ("Hm.", "Four.")),  # QwQ: the prompt opens it
        ("\nHm. \n still", True, ("Hm. \n still", "")),  # max_tokens
        ("Four.", False, ("", "Four.")),
        (" <thin", False, ("", " <thin")),
        ("Four <think>x</think>", False, ("", "Four <think>x</think>")),
        ("", False, ("", "")),
        ("a < b </thin", True, ("a < b </thin", "")),
        ("<think>a</think><think>b</think>", False, ("a", "<think>b</think>")),
    ],
)
def test_thoughts_and_answer(text: str, is_thinking: bool, expected: tuple[str, str]) -> None:
    for size in (*range(1, 9), len(text) + 1):
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        assert read(pieces, is_thinking=is_thinking) == expected


@pytest.mark.parametrize(
    ("marks", "text"),
    [
        (ThoughtMarks("[THINK]", "[/THINK]"), "[THINK]Hm.[/THINK]Four."),  # Magistral
        (
            ThoughtMarks("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"),  # Apriel 1.6
            "Here are my reasoning steps:\nHm.\n[BEGIN FINAL RESPONSE]\nFour.",
        ),
        (
            ThoughtMarks("Here is my thought process:", "Here is my response:"),  # Granite 3.2
            "Here is my thought process:\n\nHm.\n\nHere is my response:\n\nFour.",
        ),
    ],
)
def test_families_have_marks_of_their_own(marks: ThoughtMarks, text: str) -> None:
    assert read(list(text), marks) == read([text], marks) == ("Hm.", "Four.")


def test_it_is_known_whether_the_model_thinks_now() -> None:
    reader = ThoughtReader(THINK)
    known = []
    for piece in ("<th", "ink>", "Hm", "</think", ">", "\n", "Four"):
        reader.push(piece)
        known.append(reader.is_thinking)
    assert known == [False, True, True, True, False, False, False]
