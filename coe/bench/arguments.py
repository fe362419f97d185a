"""Arguments that benchmarks share: counts that are refused where they are too small, and where a result goes."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

__all__ = ["add_json_argument", "add_out_argument", "at_least"]


def at_least(least: int) -> Callable[[str], int]:
    """Return a type for argparse: a whole number, not below `least`."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"'{text}' is no whole number of at least {least}")
        return int(text)

    return number


def add_out_argument(parser: argparse.ArgumentParser, files: str) -> None:
    parser.add_argument("--out", type=Path, help=f"folder for {files}; pictures need the extra `bench`")


def add_json_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, help="write the result here too")
