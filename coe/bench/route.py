"""`coe bench route`: what routing a prompt costs, and how well it is done, one section for each.

Owns how sections become tables, JSON files and pictures. The measuring is the router's and is handed in, because this
package does not import it. A section is measured when its turn comes, its ceiling beside its times. No expert runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from coe.bench.picture import draw
from coe.bench.report import Output, print_record, record, table, write_json

__all__ = ["Section", "run"]


class Section(Protocol):
    """One part of the benchmark; `name` is that of its files, `figures` has units in its keys."""

    @property
    def name(self) -> str: ...
    @property
    def headers(self) -> Sequence[str]: ...
    @property
    def rows(self) -> Sequence[Sequence[str]]: ...
    @property
    def figures(self) -> Sequence[Mapping[str, Any]]: ...
    def draw(self, axes: Any) -> None: ...


def run(sections: Iterable[Section], *, seed: int, out: Path | None) -> int:
    """Print every section and write its JSON into `out`, print one JSON line, then draw; returns the exit code."""
    Output(out)  # a folder that cannot be is refused before anything is measured
    figures: dict[str, Any] = {}
    pictures: dict[Path, Callable[[Any], None]] = {}
    for section in sections:
        print(table(section.headers, section.rows))
        figures[section.name] = section.figures
        if out is not None:
            write_json(record("route", {"seed": seed, section.name: section.figures}), out / f"{section.name}.json")
            pictures[out / f"{section.name}.png"] = partial(paint, section)
    print_record(record("route", {"seed": seed, **figures}))
    draw(pictures)
    return 0


def paint(section: Section, figure: Any) -> None:
    """Draw a section on a figure of its own."""
    figure.set_size_inches(8, 4)
    section.draw(figure.subplots())
