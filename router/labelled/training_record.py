"""What a router was trained on, beside its artefact: digests of the rows, the categories' descriptions, the recipe.

Owns the file `training.json`. It tells later which prompts the router knows already, so that two routers can be
compared on prompts that neither saw; it holds no prompt. Knows nothing about what the recipe's fields mean.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from router.labelled.duplicates import wording

__all__ = ["RECORD_FILE", "TrainingRecord", "digest_of", "read_record", "write_record"]

FORMAT = 1
RECORD_FILE = "training.json"


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """`rows` are digests of the prompts trained on, `recipe` the fields of the recipe by name."""

    rows: frozenset[str]
    recipe: Mapping[str, Any]
    descriptions: Mapping[str, str] = field(default_factory=dict)
    made: str = ""  # RFC 3339
    num_rows: int = 0  # equal prompts counted each


def digest_of(text: str) -> str:
    """Return a digest of a prompt's words: case, punctuation and the digits of numbers do not enter it."""
    return hashlib.blake2b(wording(text).encode(), digest_size=8).hexdigest()


def write_record(
    folder: Path, texts: Iterable[str], recipe: Mapping[str, Any], descriptions: Mapping[str, str]
) -> None:
    """Write the record of a router that is trained now."""
    digests = [digest_of(text) for text in texts]
    written = {
        "format": FORMAT,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "num_rows": len(digests),
        "recipe": dict(recipe),
        "descriptions": dict(descriptions),
        "rows": sorted(set(digests)),
    }
    text = json.dumps(written, ensure_ascii=False, indent=1)
    (folder / RECORD_FILE).write_text(text + "\n", encoding="utf-8")


def read_record(folder: Path) -> TrainingRecord | None:
    """Return the record beside an artefact; None where there is none.

    Raises:
        ValueError: a damaged record.
    """
    path = folder / RECORD_FILE
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise ValueError(f"not an object of format {FORMAT}")
        return TrainingRecord(
            frozenset(found["rows"]), found["recipe"], found["descriptions"], found["made"], found["num_rows"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: not a record of a training ({error}); remove it: the router is then compared as one of which "
            "only the kept training prompts are known"
        ) from error
