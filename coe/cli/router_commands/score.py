"""`coe router score`: hands the rows that the router's reader finds in a file to the scoring, which reads no files.

Owns under which names the scoring gets a row's prompt and category; it knows `prompt`, `messages` and `category` alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator

from coe.errors import ConfigError
from coe.scoring import command
from coe.scoring.command import add_arguments
from router.labelled.bad_rows import BadRow, lines_about
from router.labelled.fields import PROMPT_COLUMNS, category_in, options_of, question_in
from router.labelled.rows import RawRow, read_rows

__all__ = ["add_arguments", "run"]


def run(arguments: argparse.Namespace) -> int:
    """Score the rows of a file; raises ConfigError for a file that cannot be read."""
    try:
        rows = list(named_as_scored(read_rows(arguments.labelled, PROMPT_COLUMNS)))
    except (ValueError, OSError) as error:
        raise ConfigError(str(error)) from error
    return command.run(arguments, rows, lambda bad: lines_about([BadRow(row.where, row.why) for row in bad]))


def named_as_scored(rows: Iterable[RawRow]) -> Iterator[RawRow]:
    """Yield rows with the question as `prompt`, its `options` below it, and the label as `category`.

    `messages` stay as they are; `choices` are not appended: they are what the check `choice` compares.
    """
    for where, row in rows:
        try:
            yield RawRow(where, renamed(row) if isinstance(row, dict) else row)
        except ValueError as error:
            yield RawRow(where, error)


def renamed(row: dict[str, object]) -> dict[str, object]:
    found = row | {"category": category_in(row)}
    if row.get("messages") and not row.get("prompt"):
        return found
    asked = [question_in(row), *options_of({"options": row.get("options")})]
    return found | {"prompt": "\n".join(asked)}
