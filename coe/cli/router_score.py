"""`coe router score`: hands the rows that the router's reader finds in a file to the scoring, which reads no files."""

from __future__ import annotations

import argparse

from coe.errors import ConfigError
from coe.scoring import command
from coe.scoring.command import add_arguments
from router.labelled.prompts import PROMPT_COLUMNS
from router.labelled.rows import read_rows

__all__ = ["add_arguments", "run"]


def run(arguments: argparse.Namespace) -> int:
    """Score the rows of a file; raises ConfigError for a file that cannot be read."""
    try:
        rows = list(read_rows(arguments.labelled, PROMPT_COLUMNS))
    except (ValueError, OSError) as error:
        raise ConfigError(str(error)) from error
    return command.run(arguments, rows)
