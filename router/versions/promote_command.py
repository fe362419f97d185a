"""The command `promote`: the version in shadow becomes the served one."""

from __future__ import annotations

import argparse
from pathlib import Path

from router.versions.changes import promoted
from router.versions.folder import change

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `coe router promote`."""
    parser.add_argument("folder", type=Path, help="a folder of versions")


def run(args: argparse.Namespace) -> int:
    """Run `coe router promote`; returns the exit code."""
    now = change(args.folder, promoted)
    print(f"version {now.served} is served from the next start on; `coe router rollback` goes back to {now.before[-1]}")
    return 0
