"""A file of descriptions is an object of sentences; anything else is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.labelled.descriptions import check_examples, read_descriptions
from router.labelled.prompts import Prompt


def test_sentences_are_read(tmp_path: Path) -> None:
    file = tmp_path / "told.json"
    file.write_text('{"garden": "Plants and lawns."}')
    assert read_descriptions(file) == {"garden": "Plants and lawns."}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "write an object"),
        ("{}", "write an object"),
        ('{"garden": 3}', "description of 'garden' is 3"),
        ('{"garden": " "}', "description of 'garden'"),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "told.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_descriptions(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gone"):
        read_descriptions(tmp_path / "gone.json")


def test_examples_belong_to_a_description_or_to_nobody() -> None:
    check_examples([Prompt("a", "garden"), Prompt("b", "general")], {"garden"})
    with pytest.raises(ValueError, match="example 'c' is of category 'sql'"):
        check_examples([Prompt("c", "sql")], {"garden"})
