"""`description` of an expert: a sentence, or the model's card; never the general expert's."""

from __future__ import annotations

from pathlib import Path

from configurations import check_refused, read

TWO = 'experts.general = "a"\nexperts.garden.source = "a"\n'


def test_a_sentence_makes_a_category(folder: Path) -> None:
    config = read(folder, TWO + 'experts.garden.description = "Plants and lawns."')
    assert config.router.descriptions == {"garden": "Plants and lawns."}


def test_the_card_of_a_local_source_is_read(folder: Path) -> None:
    (folder / "a" / "README.md").write_text("# Garden\n\nAnswers questions about plants and lawns.\n")
    config = read(folder, TWO + 'experts.garden.description = "card"')
    assert config.router.descriptions == {"garden": "Answers questions about plants and lawns."}


def test_what_cannot_describe_is_refused(folder: Path) -> None:
    check_refused(folder, TWO + 'experts.garden.description = "card"', "has no README.md with a paragraph")
    check_refused(folder, 'experts.general.source = "a"\nexperts.general.description = "All."', "the general expert")
    check_refused(folder, TWO + "experts.garden.description = 3", "[experts.garden] description = 3: not a text")
    check_refused(folder, TWO + 'router.examples = "gone.jsonl"', '[router] examples = "gone.jsonl"')
