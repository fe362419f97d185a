"""Bad rows: what is left out of a table, counted by reason.

Owns how they are told to people: thousands of bad rows are a few lines. Knows nothing about what makes a row bad.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BadRow", "lines_about", "nothing_left"]

NUM_NAMED = 3
NUM_REASONS = 8


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was left out, and why: `reason (detail)`."""

    where: str  # file:number
    why: str

    @property
    def reason(self) -> str:
        """What rows are counted by: `why` without its detail."""
        return self.why.split(" (")[0]


def lines_about(bad_rows: Sequence[BadRow]) -> list[str]:
    """Return one line that counts the bad rows and one for each reason, with the first three rows of it."""
    if not bad_rows:
        return ["no bad rows"]
    by_reason: dict[str, list[BadRow]] = defaultdict(list)
    for row in bad_rows:
        by_reason[row.reason].append(row)
    most_common = sorted(by_reason.items(), key=lambda item: -len(item[1]))
    lines = [f"{len(bad_rows)} bad rows left out"]
    lines += [f"  {len(rows)} x {reason}: {named(reason, rows)}" for reason, rows in most_common[:NUM_REASONS]]
    if len(most_common) > NUM_REASONS:
        lines.append(f"  {sum(len(rows) for _, rows in most_common[NUM_REASONS:])} x other reasons")
    return lines


def named(reason: str, rows: Sequence[BadRow]) -> str:
    """Return the first rows, each with its detail where it has one."""
    shown = [f"{row.where}{row.why.removeprefix(reason)}" for row in rows[:NUM_NAMED]]
    return ", ".join(shown) + (", ..." if len(rows) > NUM_NAMED else "")


def nothing_left(path: Path, bad_rows: Sequence[BadRow]) -> ValueError:
    """Return the error of a table without one good row, in one line."""
    if not bad_rows:
        return ValueError(f"{path}: no rows in it")
    lines = [line.strip() for line in lines_about(bad_rows)]
    return ValueError(f"{path}: no row can be used; {lines[0]}: {'; '.join(lines[1:])}")
