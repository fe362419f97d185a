"""Model cards are read as data: topics and one paragraph, and nothing in them is executed."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.proposals.cards import MAX_BYTES, MAX_CHARS, card_of, read_card

CARD = """---
license: apache-2.0
language: [en, no]
tags:
- text-generation
- license:mit
- chemistry
- lab reports
---
# A model

![badge](https://example.org/b.svg)

<p align="center">hello there, this is markup and no prose</p>

| a | table |
|---|---|

Answers questions about **chemistry** as asked in [laboratories](https://example.org).

Another paragraph that nobody needs to read here.
"""


def test_topics_and_the_first_paragraph_are_read() -> None:
    assert card_of(CARD) == (
        ("chemistry", "lab reports"),
        "Answers questions about chemistry as asked in laboratories.",
    )


def test_a_card_may_lack_either() -> None:
    assert card_of("Just some prose about wine and cheese.") == ((), "Just some prose about wine and cheese.")
    assert card_of("---\ntags: wine\n---\n# Title\n") == ((), "")
    assert card_of("") == ((), "")


def test_code_in_yaml_is_not_executed(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    card_of(
        f"---\ntags: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{mark}']]\n---\n"
    )
    assert not mark.exists()


@pytest.mark.parametrize("inside", ["tags: [a", "a: b: c", "[" * 20_000, "? [x]\n: y"])
def test_front_matter_that_is_no_yaml_is_told_with_the_file(tmp_path: Path, inside: str) -> None:
    file = tmp_path / "README.md"
    file.write_text(f"---\n{inside}\n---\nSome prose about one thing or another.\n")
    with pytest.raises(ValueError, match="front matter is not YAML") as told:
        read_card(file)
    assert str(file) in str(told.value)


def test_dates_and_aliases_are_texts_and_cost_nothing() -> None:
    bomb = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" if n else "a0: &a0 [x]" for n in range(12))
    assert card_of(f"---\nd: 2020-99-99\n{bomb}\ntags: [wine]\n---\n").tags == ("wine",)


def test_a_long_card_is_read_in_part_and_cut_at_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_bytes(b"Every sentence is about tea. " * 10_000 + b"\xff")
    assert file.stat().st_size > MAX_BYTES
    paragraph = read_card(file).paragraph
    assert len(paragraph) <= MAX_CHARS
    assert paragraph.endswith("tea.")
