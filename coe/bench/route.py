"""`coe bench route`: what routing a prompt costs, and how well it is done, one section for each.

Owns how sections become tables, JSON files and pictures. The measuring is the router's and is handed in, because this
package does not import it. A section is measured when its turn comes, its ceiling beside its times.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from coe.bench.report import emit, table
from coe.machine.record import this_machine

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
    """Print every section, write its JSON and its picture into `out`, then print one JSON line; returns the exit code.

    The picture needs matplotlib (the extra `bench`) and is drawn only where there is an `out`.
    """
    about = {"benchmark": "route", "seed": seed, "hardware": asdict(this_machine())}
    result: dict[str, Any] = dict(about)
    for section in sections:
        print(table(section.headers, section.rows))
        result[section.name] = section.figures
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            text = json.dumps(about | {section.name: section.figures}, indent=1)
            (out / f"{section.name}.json").write_text(text + "\n", encoding="utf-8")
            plot(section, out / f"{section.name}.png")
    emit(result)
    return 0


def plot(section: Section, file: Path) -> None:
    """Draw a section."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4), layout="constrained")
    section.draw(axes)
    figure.savefig(file, dpi=120)
    pyplot.close(figure)
