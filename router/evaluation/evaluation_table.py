"""An evaluation for people: a table for each section of its figures.

Owns the layout. Knows nothing about how a figure is computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["lines_of"]

MAX_ROWS = 60  # of one table; the JSON has all


def lines_of(sections: Mapping[str, Any]) -> list[str]:
    """Return every section: objects of objects and lists of objects as tables, else one figure a line."""
    return [line for name, figures in sections.items() for line in (name, *section_lines(figures))]


def section_lines(figures: Any) -> list[str]:
    if isinstance(figures, Mapping) and figures and all(isinstance(row, Mapping) for row in figures.values()):
        return table([{"": name, **row} for name, row in figures.items()])
    if isinstance(figures, Mapping):
        return [line for name, value in figures.items() for line in figure_lines(name, value)]
    return table(figures) if is_table(figures) else [f"  {shown(figures)}"]


def figure_lines(name: str, value: Any) -> list[str]:
    if is_table(value):
        return [f"  {name}", *table(value)]
    rows = value.items() if isinstance(value, Mapping) else [("", value)]
    return [f"  {f'{name} {label}'.strip():60} {shown(figure)}" for label, figure in rows]


def is_table(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(row, Mapping) for row in value)


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a header and one line a row, columns as wide as they need."""
    if not rows:
        return ["  none"]
    cells = [list(rows[0]), *([shown(row[name]) for name in rows[0]] for row in rows[:MAX_ROWS])]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    ]
    return lines + ([f"  and {len(rows) - MAX_ROWS} more, in the JSON"] if len(rows) > MAX_ROWS else [])


def shown(value: Any) -> str:
    """Return a value as a cell: four digits, a dash for what there is not."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
