"""Labelled prompts from files: JSONL, CSV and Parquet rows of `{prompt or messages, category}`.

Owns reading and checking. A bad row is counted and named, never silently skipped; a file that cannot be read at all is
an error. Knows nothing about embeddings, splits or experts.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["BadRow", "Prompt", "PromptSet", "Reading", "parse_rows", "read_prompts", "read_rows"]

SUFFIXES = (".jsonl", ".jsonl.gz", ".csv", ".parquet")
MAX_CELL_CHARS = 1 << 30  # csv's own limit is 131,072: less than a long prompt
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


@dataclass
class Reading:
    """The state of one read."""

    prompts: list[Prompt] = field(default_factory=list)
    bad_rows: list[BadRow] = field(default_factory=list)


def read_prompts(path: Path) -> PromptSet:
    """Read one file, or every readable file of a folder.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: a suffix that nobody reads, a damaged file, or a table without the columns.
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
        yield from csv_rows(path)
    elif path.suffix == ".parquet":
        yield from parquet_rows(path)
    else:
        raise ValueError(f"{path}: cannot read this; prompts come as {', '.join(SUFFIXES)}")


def json_lines(path: Path) -> Iterator[object]:
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path}: not a whole gzip file ({error}); fetch or pack it again") from error
    for line in content.rstrip().split(b"\n") if content.strip() else []:
        try:
            yield json.loads(line)
        except (ValueError, RecursionError) as error:
            yield ValueError(str(error))


def csv_rows(path: Path) -> Iterator[object]:
    csv.field_size_limit(MAX_CELL_CHARS)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            table = csv.DictReader(stream)
            check_columns(path, table.fieldnames or ())
            yield from table
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a CSV file in UTF-8 ({error}); save it as one") from error


def parquet_rows(path: Path) -> Iterator[object]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ValueError(f"{path}: reading Parquet needs pyarrow; run `pip install 'coe-serve[parquet]'`") from error
    try:
        table = pyarrow.parquet.read_table(path)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{path}: not a Parquet file ({error})") from error
    check_columns(path, table.column_names)
    yield from table.to_pylist()


def check_columns(path: Path, columns: Iterable[str]) -> None:
    """Raises ValueError for a table none of whose rows can be good."""
    found = set(columns)
    if "category" not in found or not found & {"prompt", "messages"}:
        raise ValueError(
            f"{path}: its columns are {', '.join(sorted(found)) or 'none'}; needed are 'category' and 'prompt' or "
            "'messages'"
        )


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
    if None in row:  # where csv puts what is beyond the last column
        return f"{len(row[None])} more cells than columns"
    text, category = row_text(row), row.get("category")
    if not isinstance(text, str) or not text.strip():
        return "no text in 'prompt', and no user turn in 'messages'"
    if not isinstance(category, str) or not category.strip():
        return "no 'category'" if category in (None, "") else f"category {category!r} is not a name"
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
    """True unless a row says no; CSV can only say it in words."""
    return value.strip().lower() not in FALSE_WORDS if isinstance(value, str) else value in (None, True)


def row_text(row: dict[str, Any]) -> object:
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
    return written_out(turns[-1]) if turns else None


def written_out(content: object) -> object:
    """Return the text of a turn whose content comes in parts."""
    if not isinstance(content, list):
        return content
    parts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
    return "\n".join(part for part in parts if isinstance(part, str))
