"""Descriptions of categories: a JSON file of category -> one sentence.

Owns the form of the file. Knows nothing about what is learned from a sentence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

__all__ = ["read_descriptions"]


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
