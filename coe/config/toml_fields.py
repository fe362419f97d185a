"""Typed readers of one TOML value, and `read_table`, which applies them to a table.

A reader takes a raw value and the folder of the file that the value stands in. It returns the typed value or raises
ValueError with what is wrong and what to do; `read_table` puts table, key and value in front of that and returns all
problems of the table together. Knows nothing about which tables and keys coe has. Readers of paths ask whether a file
exists and open none.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from coe.config.paths import expand
from coe.errors import nearest

__all__ = [
    "Checked",
    "Reader",
    "as_written",
    "boolean",
    "choice",
    "existing_file",
    "existing_path",
    "file_path",
    "folder_path",
    "list_of",
    "lower_case",
    "nested",
    "origin",
    "read_table",
    "real",
    "size",
    "text",
    "whole",
]

T = TypeVar("T")
Reader = Callable[[Any, Path], Any]

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kKMGT]?i?B)")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?")
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


class Checked(NamedTuple, Generic[T]):
    """A value that was read, and a sentence for each problem found; what is wrong is left out of the value."""

    value: T
    problems: tuple[str, ...] = ()


def read_table(raw: object, where: str, readers: Mapping[str, Reader], folder: Path) -> Checked[dict[str, Any]]:
    """Return the values of the table's known keys; every other key and every wrong value is a problem."""
    if not isinstance(raw, Mapping):
        return Checked({}, (f"{where} = {as_written(raw)}: not a table; write it as {where} with one key a line",))
    values: dict[str, Any] = {}
    problems: list[str] = []
    for key, value in raw.items():
        if key not in readers:
            problems.append(f"unknown key '{key}' in {where}; {nearest(key, readers, 'known keys')}")
            continue
        try:
            values[key] = readers[key](value, folder)
        except ValueError as error:
            problems.append(f"{where} {key} = {as_written(value)}: {error}")
    return Checked(values, tuple(problems))


def as_written(value: object) -> str:
    """Return a value roughly as TOML and JSON write it, at most 80 characters."""
    try:
        written = json.dumps(value, ensure_ascii=False)
    except RecursionError:
        written = f"a {type(value).__name__}"
    except (TypeError, ValueError):  # dates and times
        written = str(value)
    return written if len(written) <= 80 else written[:77] + "..."


def nested(value: Any, _folder: Path) -> Any:
    """Return the value as TOML gave it: a table within the table, which has readers of its own."""
    return value


def boolean(value: Any, _folder: Path) -> bool:
    if not isinstance(value, bool):
        raise ValueError("neither true nor false; write one of them, without quotes")
    return value


def text(value: Any, _folder: Path) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError('not a text; write it in quotes, "like this"')
    return value


def lower_case(value: Any, folder: Path) -> str:
    return text(value, folder).lower()


def origin(value: Any, folder: Path) -> str:
    """Read the origin of a web page (RFC 6454), such as "https://chat.example:8443", or "*" for every page."""
    written = lower_case(value, folder)
    if written != "*" and not _ORIGIN.fullmatch(written):
        raise ValueError('not an origin; write scheme, host and perhaps a port: "https://chat.example", or "*"')
    return written


def whole(least: int, most: int | None = None) -> Reader:
    """Return a reader of whole numbers from `least` to `most`, both included."""
    bounds = f"{least} to {most}" if most is not None else f"{least} or more"

    def read(value: Any, _folder: Path) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"not a whole number; write {bounds}, without quotes")
        if value < least or (most is not None and value > most):
            raise ValueError(f"out of range; write {bounds}")
        return value

    return read


def real(least: float, most: float = math.inf, *, above: bool = False) -> Reader:
    """Return a reader of finite numbers from `least` to `most`; with `above`, `least` itself is refused."""
    bounds = f"{'above' if above else 'at least'} {least:g}" + (f" and at most {most:g}" if most < math.inf else "")

    def read(value: Any, _folder: Path) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"not a number; write one {bounds}, without quotes")
        if not math.isfinite(value) or value > most or value < least or (above and value == least):
            raise ValueError(f"out of range; write a number {bounds}")
        return float(value)

    return read


def choice(*allowed: str) -> Reader:
    """Return a reader of one of the allowed words."""

    def read(value: Any, _folder: Path) -> str:
        if value not in allowed:
            raise ValueError(f"unknown value; write one of {', '.join(map(json.dumps, allowed))}")
        return str(value)

    return read


def list_of(item: Reader) -> Reader:
    """Return a reader of a list, or of one bare item, that gives a tuple."""

    def read(value: Any, folder: Path) -> tuple[Any, ...]:
        return tuple(item(each, folder) for each in (value if isinstance(value, list) else [value]))

    return read


def size(value: Any, _folder: Path) -> int:
    """Read a number of bytes: 1000000, "500MB" (10^6 bytes each) or "24GiB" (2^30 bytes each)."""
    remedy = 'write a number of bytes or a text such as "500MB" or "24GiB"'
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        prefix = match[2].rstrip("B")
        base = 1024 if prefix.endswith("i") else 1000
        value = int(float(match[1]) * base ** _POWERS[prefix.rstrip("i").upper()])
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"not a size; {remedy}")
    if value <= 0:
        raise ValueError(f"a size must be above zero; {remedy}")
    return value


def folder_path(value: Any, folder: Path) -> Path:
    """Read the path of a folder, which need not exist yet."""
    path = expand(text(value, folder), folder)
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} is not a folder; name another one")
    return path


def file_path(value: Any, folder: Path) -> Path:
    """Read the path of a file, which need not exist yet."""
    path = expand(text(value, folder), folder)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file")
    return path


def existing_file(value: Any, folder: Path) -> Path:
    path = existing_path(value, folder)
    if not path.is_file():
        raise ValueError(f"{path} is not a file; name one")
    return path


def existing_path(value: Any, folder: Path) -> Path:
    path = expand(text(value, folder), folder)
    if not path.exists():
        raise ValueError(f"{path} does not exist; paths are relative to the configuration file")
    return path
