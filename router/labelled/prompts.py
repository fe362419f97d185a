"""Labelled prompts: rows of a prompt and a category, perhaps with id, source, family, language, licence and split.

Owns what a row means beyond its prompt and category (fields.py) and what makes it bad. A bad row is counted, never
silently left out. Knows nothing about file formats, embeddings or experts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from router.labelled.bad_rows import BadRow, nothing_left
from router.labelled.fields import PROMPT_COLUMNS, category_in, prompt_in
from router.labelled.rows import SUFFIXES, RawRow, read_rows

__all__ = ["Prompt", "PromptSet", "merged", "of_split", "prompts_in", "read_prompts"]

ALL_SPLITS = "all"
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
    language: str = ""


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
        ValueError: a suffix that is not read, a damaged file, a table without the columns, or no good row.
    """
    files = sorted(file for file in path.iterdir() if file.name.endswith(SUFFIXES)) if path.is_dir() else [path]
    if not files:
        raise FileNotFoundError(f"{path}: no prompts there; files end in {', '.join(SUFFIXES)}")
    found = merged(prompts_in(read_rows(file, PROMPT_COLUMNS)) for file in files)
    if not found.prompts:
        raise nothing_left(path, found.bad_rows)
    return found


def merged(sets: Iterable[PromptSet]) -> PromptSet:
    """Return all sets as one, in order."""
    each = list(sets)
    return PromptSet(
        tuple(prompt for found in each for prompt in found.prompts),
        tuple(row for found in each for row in found.bad_rows),
    )


def of_split(prompts: Sequence[Prompt], split: str | None) -> tuple[Prompt, ...]:
    """Return the rows of a split, all for None and "all"; raises ValueError for a split that no row is of."""
    chosen = tuple(prompt for prompt in prompts if split in (None, ALL_SPLITS, prompt.split))
    if not chosen:
        there = ", ".join(sorted({prompt.split for prompt in prompts}))
        raise ValueError(f"--split {split}: no row is of it; there are {there}, and `all` for every row")
    return chosen


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
        raise ValueError(f"not an object ({type(row).__name__})")
    return Prompt(
        prompt_in(row),
        category_in(row),
        id=str(row.get("id") or where),
        source=str(row.get("source") or "user"),
        family=str(row.get("family") or row.get("source") or "user"),
        license=str(row.get("license") or ""),
        is_permissive=is_permissive(row.get("permissive")),
        split=str(row.get("split") or "train"),
        language=str(row.get("language") or ""),
    )


def is_permissive(value: object) -> bool:
    """Return True unless a row says no, which CSV can only write out."""
    return value.strip().lower() not in FALSE_WORDS if isinstance(value, str) else value in (None, True)
