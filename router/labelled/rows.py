"""Rows of a file as they stand there: JSONL (also gzipped), CSV and Parquet.

The one reader of labelled prompts and score tables. Owns formats, row numbers and what is wrong with a line or a whole
file; what a row means is its reader's business. A line that is no row comes as the error that it gave, so that one bad
line never stops the others. Blank lines of JSONL are passed over.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["SUFFIXES", "RawRow", "read_rows"]

SUFFIXES = (".jsonl", ".jsonl.gz", ".csv", ".parquet")
MAX_CELL_CHARS = 1 << 30  # csv's own limit is 131,072: less than a long prompt
Numbered = Iterator[tuple[int, object]]


class RawRow(NamedTuple):
    """A row and its place. `value` is the row as the file has it, a ValueError where the line cannot be read."""

    where: str  # file:number, lines of JSONL and rows of tables counted from 1
    value: object


def read_rows(path: Path, columns: Sequence[Sequence[str]] = ()) -> Iterator[RawRow]:
    """Yield the rows of a file.

    `columns` are those that a table must have, one name of each group; JSONL has none.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a suffix that is not read, a damaged file, or a table without the columns.
    """
    for number, value in numbered_rows(path, columns):
        yield RawRow(f"{path.name}:{number}", value)


def numbered_rows(path: Path, columns: Sequence[Sequence[str]]) -> Numbered:
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        return json_lines(path)
    if path.suffix == ".csv":
        return csv_rows(path, columns)
    if path.suffix == ".parquet":
        return parquet_rows(path, columns)
    raise ValueError(f"{path}: cannot read this; rows come as {', '.join(SUFFIXES)}")


def json_lines(path: Path) -> Numbered:
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path}: not a whole gzip file ({error}); fetch or pack it again") from error
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.strip():
            yield number, json_value(line)


def json_value(line: bytes) -> object:
    """Return the value of a line, or a ValueError that says why there is none."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        return ValueError(f"not JSON ({error})")


def csv_rows(path: Path, columns: Sequence[Sequence[str]]) -> Numbered:
    csv.field_size_limit(MAX_CELL_CHARS)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            table = csv.DictReader(stream)
            check_columns(path, table.fieldnames or (), columns)
            for number, row in enumerate(table, 1):
                extra = row.pop(None, ())  # where csv puts what is beyond the last column
                yield number, ValueError(f"more cells than columns ({len(extra)})") if extra else row
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a CSV file in UTF-8 ({error}); save it as one") from error


def parquet_rows(path: Path, columns: Sequence[Sequence[str]]) -> Numbered:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ValueError(f"{path}: reading Parquet needs pyarrow; run `pip install 'coe-serve[parquet]'`") from error
    try:
        table = pyarrow.parquet.read_table(path)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{path}: not a Parquet file ({error})") from error
    check_columns(path, table.column_names, columns)
    yield from enumerate(table.to_pylist(), 1)


def check_columns(path: Path, found: Iterable[str], columns: Sequence[Sequence[str]]) -> None:
    """Raises ValueError for a table that lacks every name of a group: none of its rows can be good."""
    names = set(found)
    if not all(names & set(group) for group in columns):
        needed = " and ".join(" or ".join(f"'{name}'" for name in group) for group in columns)
        raise ValueError(f"{path}: its columns are {', '.join(sorted(names)) or 'none'}; needed are {needed}")
