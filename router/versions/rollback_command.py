"""The command `rollback`: back to the version that was served before, or no version in shadow any more."""

from __future__ import annotations

import argparse
from pathlib import Path

from router.versions.changes import rolled_back, without_shadow
from router.versions.folder import change

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `coe router rollback`."""
    parser.add_argument("folder", type=Path, help="a folder of versions")
    parser.add_argument(
        "--shadow", action="store_true", help="take the version in shadow out, and serve what is served"
    )


def run(args: argparse.Namespace) -> int:
    """Run `coe router rollback`; returns the exit code."""
    if args.shadow:
        now = change(args.folder, without_shadow)
        print(f"no version is in shadow; version {now.served} is served")
        return 0
    now = change(args.folder, rolled_back)
    further = f"the one before is {now.before[-1]}" if now.before else "nothing was served before it"
    print(f"version {now.served} is served from the next start on; {further}")
    return 0
