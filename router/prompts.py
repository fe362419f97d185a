"""Labelled prompts from files: JSONL, CSV and Parquet rows of `{prompt or messages, category}`.

Owns reading, checking and grouping. A bad row is counted and named, never silently skipped, and near-duplicates share a
group so that a split can keep them together. Knows nothing about embeddings or experts.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["BadRow", "Prompt", "PromptSet", "groups_of", "parse_rows", "read_prompts", "read_rows"]

SUFFIXES = (".jsonl", ".jsonl.gz", ".csv", ".parquet")
WORD = re.compile(r"\w+")
NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Prompt:
    """One labelled prompt. `family` groups sources that come from one benchmark or writer."""

    text: str
    category: str
    id: str = ""
    source: str = "user"
    family: str = "user"
    license: str = ""
    is_permissive: bool = True
    split: str = "train"


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was left out, and why."""

    where: str  # file:row, rows counted from 1
    why: str


@dataclass(frozen=True, slots=True)
class PromptSet:
    """What was read: the good rows, and the bad ones by name."""

    prompts: tuple[Prompt, ...]
    bad_rows: tuple[BadRow, ...] = ()

    @property
    def categories(self) -> tuple[str, ...]:
        return tuple(sorted({prompt.category for prompt in self.prompts}))

    def report(self) -> str:
        """Return a table of class balance, duplicates and bad rows."""
        balance = Counter(prompt.category for prompt in self.prompts)
        duplicates = len(self.prompts) - len(set(groups_of([prompt.text for prompt in self.prompts])))
        lines = [f"{len(self.prompts)} prompts, {duplicates} near-duplicates, {len(self.bad_rows)} bad rows"]
        lines += [f"  {name:20} {count:6}" for name, count in balance.most_common()]
        return "\n".join(lines + [f"  left out {row.where}: {row.why}" for row in self.bad_rows])


@dataclass
class Reading:
    """The state of one read."""

    prompts: list[Prompt] = field(default_factory=list)
    bad_rows: list[BadRow] = field(default_factory=list)


def read_prompts(path: Path) -> PromptSet:
    """Read one file, or every readable file of a folder.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: a suffix that nobody reads.
    """
    files = sorted(file for file in path.iterdir() if file.name.endswith(SUFFIXES)) if path.is_dir() else [path]
    if not files:
        raise FileNotFoundError(f"{path}: no prompts there; files end in {', '.join(SUFFIXES)}")
    reading = Reading()
    for file in files:
        parse_rows(file.name, read_rows(file), reading)
    return PromptSet(tuple(reading.prompts), tuple(reading.bad_rows))


def read_rows(path: Path) -> Iterator[object]:
    """Yield the rows of a file as they are; a line that is not JSON is yielded as the error it gave."""
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        yield from json_lines(path)
    elif path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as stream:
            yield from csv.DictReader(stream)
    elif path.suffix == ".parquet":
        yield from parquet_rows(path)
    else:
        raise ValueError(f"{path}: cannot read this; prompts come as {', '.join(SUFFIXES)}")


def json_lines(path: Path) -> Iterator[object]:
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as stream:
        for line in stream:
            try:
                yield json.loads(line)
            except ValueError as error:
                yield error


def parquet_rows(path: Path) -> Iterator[object]:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ValueError(f"{path}: reading Parquet needs pyarrow; run `pip install pyarrow`") from error
    yield from pyarrow.parquet.read_table(path).to_pylist()


def parse_rows(name: str, rows: Iterable[object], reading: Reading) -> None:
    """Sort rows into prompts and bad rows."""
    for number, row in enumerate(rows, start=1):
        parsed = parse_row(row, f"{name}:{number}")
        if isinstance(parsed, Prompt):
            reading.prompts.append(parsed)
        else:
            reading.bad_rows.append(BadRow(f"{name}:{number}", parsed))


def parse_row(row: object, where: str) -> Prompt | str:
    """Return the prompt of a row, or what is wrong with it."""
    if isinstance(row, ValueError):
        return f"not JSON ({row})"
    if not isinstance(row, dict):
        return f"a {type(row).__name__}, not an object"
    text, category = row_text(row), row.get("category")
    if not isinstance(text, str) or not text.strip():
        return "no text in 'prompt', and no user turn in 'messages'"
    if not isinstance(category, str) or not category.strip():
        return "no 'category'"
    return Prompt(
        text,
        category.strip(),
        id=str(row.get("id") or where),
        source=str(row.get("source") or "user"),
        family=str(row.get("family") or row.get("source") or "user"),
        license=str(row.get("license") or ""),
        is_permissive=bool(row.get("permissive", True)),
        split=str(row.get("split") or "train"),
    )


def row_text(row: dict[str, Any]) -> object:
    """Return the prompt, or the last user turn of the messages."""
    if row.get("prompt"):
        return row["prompt"]
    messages = row.get("messages")
    if not isinstance(messages, list):
        return None
    turns = [turn.get("content") for turn in messages if isinstance(turn, dict) and turn.get("role") == "user"]
    return turns[-1] if turns else None


def groups_of(texts: Sequence[str]) -> list[str]:
    """Return one group key per text; near-duplicates share it.

    Near-duplicate means: the same words in the same order once case, punctuation and the digits of numbers are
    forgotten, up to the first forty words. A templated question with other numbers is a near-duplicate.
    """
    return [group_key(text) for text in texts]


def group_key(text: str) -> str:
    words = WORD.findall(NUMBER.sub("0", text.casefold()))[:40]
    return hashlib.blake2b(" ".join(words).encode("utf-8", "replace"), digest_size=8).hexdigest()
