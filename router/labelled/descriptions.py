"""Descriptions of categories: a JSON file of category -> one sentence, and the examples that belong to them.

Owns the form of the file, and whose examples there may be. Knows nothing about what is learned from a sentence.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from router.labelled.prompts import Prompt

__all__ = ["GENERAL", "check_examples", "read_descriptions"]

GENERAL = "general"  # the category of what nobody describes


def read_descriptions(path: Path) -> Mapping[str, str]:
    """Return category -> description.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not JSON, not an object, or a description that is no text.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error}); write an object of category: sentence") from error
    if not isinstance(found, dict) or not found:
        raise ValueError(f'{path}: write an object of category: sentence, as {{"garden": "Plants and lawns."}}')
    for category, sentence in found.items():
        if not isinstance(sentence, str) or not sentence.strip():
            raise ValueError(f"{path}: description of '{category}' is {sentence!r:.80}; write one sentence")
    return found


def check_examples(examples: Iterable[Prompt], described: Collection[str]) -> None:
    """Raises ValueError for an example of a category that nobody describes."""
    for prompt in examples:
        if prompt.category not in described and prompt.category != GENERAL:
            known = ", ".join(sorted(described))
            raise ValueError(
                f"example '{prompt.text[:40]}' is of category '{prompt.category}', which is no expert with a "
                f"description ({known}); describe that expert, or train a router on the rows"
            )
