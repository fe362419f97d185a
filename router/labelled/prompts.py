"""Labelled prompts: rows of `{prompt or messages, category}`, perhaps with id, source, family, licence and split.

Owns what a row means and what makes it bad. A bad row is counted and named, never silently left out. Knows nothing
about file formats, embeddings or experts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.labelled.rows import SUFFIXES, RawRow, read_rows

__all__ = ["PROMPT_COLUMNS", "BadRow", "Prompt", "PromptSet", "merged", "prompts_in", "read_prompts"]

PROMPT_COLUMNS = (("category",), ("prompt", "messages"))
FALSE_WORDS = ("false", "no", "0")


@dataclass(frozen=True, slots=True)
class Prompt:
    """One labelled prompt. `family` groups sources that come from one benchmark or writer.

    `may_be_shown` lets an artefact keep the text and show it to anybody whose prompt is near.
    """

    text: str
    category: str
    id: str = ""
    source: str = "user"
    family: str = "user"
    license: str = ""
    is_permissive: bool = True
    split: str = "train"
    may_be_shown: bool = False


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was left out, and why."""

    where: str  # file:number
    why: str


@dataclass(frozen=True, slots=True)
class PromptSet:
    """The good rows as prompts, and the bad ones by name."""

    prompts: tuple[Prompt, ...]
    bad_rows: tuple[BadRow, ...] = ()

    @property
    def categories(self) -> tuple[str, ...]:
        return tuple(sorted({prompt.category for prompt in self.prompts}))


def read_prompts(path: Path) -> PromptSet:
    """Read one file, or every readable file of a folder.

    Raises:
        FileNotFoundError: no such file, or a folder without one that can be read.
        ValueError: a suffix that is not read, a damaged file, or a table without the columns.
    """
    files = sorted(file for file in path.iterdir() if file.name.endswith(SUFFIXES)) if path.is_dir() else [path]
    if not files:
        raise FileNotFoundError(f"{path}: no prompts there; files end in {', '.join(SUFFIXES)}")
    return merged(prompts_in(read_rows(file, PROMPT_COLUMNS)) for file in files)


def merged(sets: Iterable[PromptSet]) -> PromptSet:
    """Return all sets as one, in order."""
    each = list(sets)
    return PromptSet(
        tuple(prompt for found in each for prompt in found.prompts),
        tuple(row for found in each for row in found.bad_rows),
    )


def prompts_in(rows: Iterable[RawRow]) -> PromptSet:
    """Sort rows into prompts and bad rows."""
    prompts, bad_rows = [], []
    for where, value in rows:
        try:
            prompts.append(prompt_of(value, where))
        except ValueError as error:
            bad_rows.append(BadRow(where, str(error)))
    return PromptSet(tuple(prompts), tuple(bad_rows))


def prompt_of(row: object, where: str) -> Prompt:
    """Return the prompt of a row; raises ValueError with what is wrong with it."""
    if isinstance(row, ValueError):
        raise row
    if not isinstance(row, Mapping):
        raise ValueError(f"a {type(row).__name__}, not an object")
    text, category = text_of(row), row.get("category")
    if not isinstance(text, str) or not text.strip():
        raise ValueError("no text in 'prompt', and no user turn in 'messages'")
    if not isinstance(category, str) or not category.strip():
        raise ValueError("no 'category'" if category in (None, "") else f"category {category!r} is not a name")
    return Prompt(
        text,
        category.strip(),
        id=str(row.get("id") or where),
        source=str(row.get("source") or "user"),
        family=str(row.get("family") or row.get("source") or "user"),
        license=str(row.get("license") or ""),
        is_permissive=is_permissive(row.get("permissive")),
        split=str(row.get("split") or "train"),
    )


def is_permissive(value: object) -> bool:
    """Return True unless a row says no, which CSV can only write out."""
    return value.strip().lower() not in FALSE_WORDS if isinstance(value, str) else value in (None, True)


def text_of(row: Mapping[str, Any]) -> object:
    """Return the prompt, or the last user turn of the messages, which a table may hold as JSON."""
    if row.get("prompt"):
        return row["prompt"]
    messages = row.get("messages")
    if isinstance(messages, str):
        try:
            messages = json.loads(messages)
        except ValueError:
            return None
    if not isinstance(messages, list):
        return None
    turns = [turn.get("content") for turn in messages if isinstance(turn, dict) and turn.get("role") == "user"]
    return joined_text(turns[-1]) if turns else None


def joined_text(content: object) -> object:
    """Return the text of a turn whose content is a list of typed pieces, as OpenAI's API has it."""
    if not isinstance(content, list):
        return content
    texts = [piece.get("text") for piece in content if isinstance(piece, dict) and piece.get("type") == "text"]
    return "\n".join(text for text in texts if isinstance(text, str))
