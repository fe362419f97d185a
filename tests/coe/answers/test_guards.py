"""Marks: what two near prompts must agree in."""

from __future__ import annotations

import pytest

from coe.answers.guards import Marks, marks_of

DIFFERENT = [
    ("What is 12 times 7?", "What is 12 times 8?"),
    ("Tom has 3 apples and 5 pears.", "Tom has 5 apples and 5 pears."),
    ("Name two prime numbers", "Name three prime numbers"),
    ("Which metals are magnetic?", "Which metals are not magnetic?"),
    ("Why can I top up?", "Why can't I top up?"),
    ("Why can I top up?", "Why can’t I top up?"),
    ("Welche Metalle sind magnetisch?", "Welche Metalle sind nicht magnetisch?"),
    ("哪些金属有磁性", "哪些金属没有磁性"),
    ('translate "the cat" into French', 'translate "the dog" into French'),
    ("what does `ls` do", "what does `rm` do"),
    ("was heißt „Hund“ auf Englisch", "was heißt „Katze“ auf Englisch"),
    ("what does parse_args return", "what does parse_known return"),
    ("explain getValue", "explain setValue"),
    ("open src/main.py", "open src/test.py"),
    ("mail bob@example.org", "mail eve@example.org"),
    ("I have a gpt2 model", "I have a gpt3 model"),
    ("What is the capital of France?", "What is the capital of Germany?"),
    ("flights from Boston to Denver", "flights from Boston to Dallas"),
    ("is 10:30 fine", "is 10:45 fine"),
    ("flights from Boston to Denver", "flights from Denver to Boston"),
    ("convert 3 inches to 5 feet", "convert 5 inches to 3 feet"),
    ("what is x + y", "what is x * y"),
    ("close this: < { [", "close this: [ { <"),
]
SAME = [
    ("What is the capital of France?", "what's the capital of France"),
    ("How do I add 2 and 3?", "how to add 2 and 3, please"),
    ("My card does not work", "the card is not working"),
    ("I can't log in", "can't I log in"),
    ("Translate 'good day' please", "please translate 'good day'"),
    ("Is it open? Tell me.", "tell me if it is open"),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_prompts_that_ask_for_different_things_have_different_marks(one: str, other: str) -> None:
    assert marks_of(one) != marks_of(other)


@pytest.mark.parametrize(("one", "other"), SAME)
def test_other_words_for_the_same_keep_the_marks(one: str, other: str) -> None:
    assert marks_of(one) == marks_of(other)


def test_marks_by_kind() -> None:
    text = 'Never say "two  words" to Ada in foo_bar.py, (3.5 times)'
    assert marks_of(text) == Marks(("two", "3.5"), 1, ("two words",), ("foo_bar.py",), ("ada",), "()")


def test_figures_of_any_script_and_width_are_numbers() -> None:
    assert marks_of("５個") == marks_of("5個")
    assert marks_of("٣ كتب") != marks_of("٤ كتب")
