"""Decisions and the feedback on them, joined into labelled prompts.

Owns both forms of JSONL row (docs/routing.md) and the rule of what is a label: the category that feedback names, or the
decision's own where feedback calls it right. What is no label is counted, what is no row of its form is bad. Knows
nothing about who writes the files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from router.labelled.bad_rows import BadRow, lines_about
from router.labelled.fields import question_in
from router.labelled.prompts import Prompt
from router.labelled.rows import read_rows

__all__ = ["Feedback", "read_feedback"]

SOURCE = "feedback"
T = TypeVar("T")
UNSURE = "abstain"  # the word of a decision whose category is a guess that nobody was answered by


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision that was made: the prompt, and where it went and why."""

    id: str
    text: str
    category: str | None
    why: str
    where: str


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody said of a decision: whether it was right, and which category is."""

    id: str
    is_right: bool
    category: str | None
    time: datetime | None
    where: str


class Feedback(NamedTuple):
    """The labels that decisions and feedback make, the bad rows, and why how many decisions are no labels."""

    prompts: tuple[Prompt, ...]
    bad_rows: tuple[BadRow, ...]
    no_label: Mapping[str, int]

    def __str__(self) -> str:
        lines = [f"{len(self.prompts)} labels from feedback"]
        lines += [f"  no label: {count} x {reason}" for reason, count in sorted(self.no_label.items())]
        return "\n".join([*lines, *lines_about(self.bad_rows)])


def read_feedback(decisions: Sequence[Path], feedback: Sequence[Path]) -> Feedback:
    """Read files of decisions and files of feedback, joined by id; of several words on a decision the last counts.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a suffix that is not read, or a damaged file.
    """
    bad_rows: list[BadRow] = []
    decided = first_of_each(good_rows(decisions, decision_in, bad_rows), bad_rows)
    said: dict[str, Said] = {}
    for row in good_rows(feedback, said_in, bad_rows):
        if row.id not in decided:
            bad_rows.append(BadRow(row.where, f"no decision has the feedback's id ({row.id[:60]!r})"))
        elif row.id not in said or is_later(row, said[row.id]):
            said[row.id] = row
    prompts, no_label = [], Counter[str]()
    for decision in decided.values():
        label = label_of(decision, said.get(decision.id))
        if label.reason:
            no_label[label.reason] += 1
        else:
            prompts.append(Prompt(decision.text, label.category, id=decision.id, source=SOURCE, family=SOURCE))
    return Feedback(tuple(prompts), tuple(bad_rows), dict(no_label))


class Label(NamedTuple):
    """A category, or the reason why there is none."""

    category: str = ""
    reason: str = ""


def label_of(decision: Decided, said: Said | None) -> Label:
    """Return what a decision and the last word on it say of its prompt."""
    if said is None:
        return Label(reason="no feedback")
    if said.category is not None:
        return Label(said.category)
    if not said.is_right:
        return Label(reason="wrong, and the right category is not said")
    if decision.category is None:
        return Label(reason=f"right, but the decision has no category (why {decision.why})")
    if decision.why == UNSURE:
        return Label(reason="right, but the router was not sure of the category, which is not said")
    return Label(decision.category)


def is_later(row: Said, other: Said) -> bool:
    """Return True where a row counts rather than one that was read before it: unless its time is earlier."""
    return row.time is None or other.time is None or row.time >= other.time


def first_of_each(rows: Iterable[Decided], bad_rows: list[BadRow]) -> dict[str, Decided]:
    found: dict[str, Decided] = {}
    for row in rows:
        if row.id in found:
            bad_rows.append(BadRow(row.where, f"the decision's id stands there twice ({row.id[:60]!r})"))
        else:
            found[row.id] = row
    return found


def good_rows(
    paths: Sequence[Path], read: Callable[[Mapping[str, Any], str], T], bad_rows: list[BadRow]
) -> Iterator[T]:
    """Yield the rows of files as `read` makes them; those that it refuses are added to the bad ones."""
    for path in paths:
        for where, value in read_rows(path):
            try:
                if isinstance(value, ValueError):
                    raise value
                if not isinstance(value, Mapping):
                    raise ValueError(f"not an object ({type(value).__name__})")
                yield read(value, where)
            except ValueError as error:
                bad_rows.append(BadRow(where, str(error)))


def decision_in(row: Mapping[str, Any], where: str) -> Decided:
    """Return the decision of a row; raises ValueError with what is wrong with it."""
    time_in(row)
    return Decided(id_in(row), question_in(row), name_in(row, "category"), name_in(row, "why") or "", where)


def said_in(row: Mapping[str, Any], where: str) -> Said:
    """Return the feedback of a row; raises ValueError with what is wrong with it."""
    is_right = row.get("right")
    if not isinstance(is_right, bool):
        raise ValueError(f"right is not true or false ({is_right!r:.60})")
    return Said(id_in(row), is_right, name_in(row, "category"), time_in(row), where)


def id_in(row: Mapping[str, Any]) -> str:
    found = row.get("id")
    if not isinstance(found, str) or not found:
        raise ValueError(f"no 'id' that is a text ({found!r:.60})")
    return found


def name_in(row: Mapping[str, Any], key: str) -> str | None:
    """Return a text, None where the row has none."""
    found = row.get(key)
    if found is None:
        return None
    if not isinstance(found, str) or not found.strip():
        raise ValueError(f"{key} is not a name ({found!r:.60})")
    return found.strip()


def time_in(row: Mapping[str, Any]) -> datetime | None:
    """Return the time of a row, None without one; raises ValueError for one without an offset, too."""
    written = row.get("time")
    if written is None:
        return None
    try:
        found = datetime.fromisoformat(written)
        if found.tzinfo is None:
            raise ValueError("no offset")
    except (TypeError, ValueError) as error:
        raise ValueError(f"time is not RFC 3339 ({written!r:.60})") from error
    return found
