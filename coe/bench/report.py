"""What every benchmark shows: medians, a table for people, one JSON record for programs, a picture.

The record goes out first, to its files and as the last line of stdout; nothing that a picture lacks can lose it.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from coe.bench.picture import draw
from coe.errors import ConfigError
from coe.machine import this_machine

__all__ = ["Output", "median", "p95", "print_record", "record", "table", "write_json"]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def p95(values: Sequence[float]) -> float:
    """The 95th percentile, nearest rank."""
    return sorted(values)[max(0, -(-95 * len(values) // 100) - 1)]


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need to be; the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in (headers, *rows)) for column in range(len(headers))]
    lines = []
    for row in (headers, *rows):
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells[1:]]).rstrip())
    return "\n".join(lines)


def record(benchmark: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures with the benchmark's name and the machine that they were made on."""
    return {"benchmark": benchmark, **figures, "hardware": asdict(this_machine())}


def print_record(result: Mapping[str, Any]) -> None:
    print(json.dumps(result), flush=True)


def write_json(result: Mapping[str, Any], file: Path) -> None:
    file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Output:
    """Where a record goes: a folder for `<name>.json` and `<name>.png`, another JSON file; either may be None.

    Made before anything is measured: raises ConfigError where nothing can be written.
    """

    folder: Path | None = None
    json_file: Path | None = None

    def __post_init__(self) -> None:
        for option, path, folder in (
            ("--out", self.folder, self.folder),
            ("--json", self.json_file, self.json_file and self.json_file.parent),
        ):
            if path is None or folder is None:
                continue
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigError(f"{option} {path}: {error.strerror}: {error.filename}; name another place") from error
        if self.json_file is not None and self.json_file.is_dir():
            raise ConfigError(f"--json {self.json_file}: it is a folder; name a file")

    def publish(self, name: str, result: Mapping[str, Any], paint: Callable[[Any], None] | None = None) -> None:
        """Write the record, print it as one line, then draw its picture if there is one and a folder for it."""
        if self.folder is not None:
            write_json(result, self.folder / f"{name}.json")
        if self.json_file is not None:
            write_json(result, self.json_file)
        print_record(result)
        if self.folder is not None and paint is not None:
            draw({self.folder / f"{name}.png": paint})
