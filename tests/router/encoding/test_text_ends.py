"""The ends of a text are its first and last paragraph; of one line its sentences, of a short one the text itself."""

from __future__ import annotations

import pytest

from router.encoding.text_ends import MAX_CHARS, Ends, ends_of

ARTICLE = "The river rises in the hills and runs for forty miles to the sea. " * 12


def test_a_short_line_is_both_ends() -> None:
    assert ends_of("  why is the sky blue? ") == Ends("why is the sky blue?", "why is the sky blue?")
    assert ends_of("") == Ends("", "")


@pytest.mark.parametrize("instruction", ["Translate this into German.", "Переведи это на немецкий.", "用一句话总结。"])
def test_an_instruction_at_either_end_stands_alone(instruction: str) -> None:
    assert ends_of(f"{instruction}\n\n{ARTICLE}").head == instruction
    assert ends_of(f"{ARTICLE}\n\n{instruction}\n").tail == instruction


def test_an_instruction_in_the_same_line_stands_alone() -> None:
    lease = "The tenant pays the rent on the first of each month and keeps the flat in good repair."
    assert ends_of(f"Summarize: {lease} {lease}").head == "Summarize:"
    assert ends_of(f"{lease} {lease} Summarise for my wife.").tail == "Summarise for my wife."
    assert ends_of(f"Hi there! Is this right? {lease} Thanks!") == Ends("Hi there! Is this right?", f"{lease} Thanks!")
    assert ends_of(f"{'这条河发源于山中，流入大海。' * 12}翻译成英文给我看。").tail == "翻译成英文给我看。"


def test_a_long_paragraph_gives_whole_sentences() -> None:
    head, tail = ends_of(f"{ARTICLE}\n{ARTICLE}")
    assert head.endswith("to the sea.")
    assert tail.startswith("The river")
    assert len(head) <= MAX_CHARS
    assert len(tail) <= MAX_CHARS


def test_a_text_without_sentences_is_cut_at_the_limit() -> None:
    head, tail = ends_of("a" * 300 + "\n" + "b" * 300)
    assert (head, tail) == ("a" * MAX_CHARS, "b" * MAX_CHARS)
