"""The command `versions`: a table of the versions of a folder.

Owns the table. Knows nothing about how versions come about.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from router.labelled.training_record import read_record
from router.model.versions import Versions, VersionsError, numbers_in, read_versions, version_folder
from router.versions.folder import read_report

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `coe router versions`."""
    parser.add_argument("folder", type=Path, help="a folder of versions")


def run(args: argparse.Namespace) -> int:
    """Run `coe router versions`; returns the exit code."""
    versions = read_versions(args.folder)
    if versions is None:
        raise VersionsError(f"{args.folder}: no versions there; `coe router retrain` makes some of a trained router")
    print(f"{'version':8} {'made':20} {'rows':>7}  {'state':8} gate: against, rows, old, new, difference, verdict")
    for number in numbers_in(args.folder):
        record, report = read_record(version_folder(args.folder, number)), read_report(args.folder, number)
        made, rows = ("-", "-") if record is None else (record.made[:19], str(record.num_rows))
        print(f"{number:8} {made:20} {rows:>7}  {state_of(number, versions):8} {gate_in(report)}")
    return 0


def state_of(number: str, versions: Versions) -> str:
    if number == versions.served:
        return "served"
    if number == versions.shadow:
        return "shadow"
    return "earlier" if number in versions.before else "-"


def gate_in(report: Mapping[str, Any] | None) -> str:
    """Return the figures of a report in one line."""
    if report is None:
        return "-"
    verdict = ("forced" if report["is_forced"] else "passed") if report["passes"] else "not passed"
    overall = report["overall"]
    if overall is None:
        return f"{report['against']}, no row held out, {verdict}"
    difference = overall["difference"]
    interval = f"{difference['difference']:+.4f} [{difference['low']:+.4f}, {difference['high']:+.4f}]"
    accuracies = f"{overall['old_accuracy']:.3f}, {overall['new_accuracy']:.3f}"
    return f"{report['against']}, {overall['num_rows']}, {accuracies}, {interval}, {verdict}"
