"""A model card's first paragraph of prose."""

from __future__ import annotations

from pathlib import Path

import pytest

from coe.config.card import card_paragraph

CARD = """---
license: apache-2.0
tags: [garden]
---
# Garden 1B

![logo](logo.png)
[![badge](b.svg)](x)

| a | b |
|---|---|

```python
pipeline("text-generation", model="x")
```

**Garden 1B** answers questions about [plants](https://x.example), lawns and pests.

More text that is not read.
"""


def test_the_first_paragraph_of_prose_is_read(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(CARD)
    assert card_paragraph(tmp_path) == "Garden 1B answers questions about plants, lawns and pests."


@pytest.mark.parametrize("text", ["", "# Heading\n", "---\nlicense: mit\n---\n", "- a list of things that are good\n"])
def test_a_card_without_prose_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "README.md").write_text(text)
    assert card_paragraph(tmp_path) is None


def test_a_folder_without_a_card_says_nothing(tmp_path: Path) -> None:
    assert card_paragraph(tmp_path) is None
    (tmp_path / "README.md").write_bytes(b"\xff\xfe words that are no text but five \xff")
    assert card_paragraph(tmp_path) is not None


def test_a_long_card_is_cut(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("word " * 100_000)
    paragraph = card_paragraph(tmp_path)
    assert paragraph is not None
    assert len(paragraph) == 400
