"""`coe router frontier`: tells the router's command which machine its figures are made on, and how to draw."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from coe.bench.picture import draw
from coe.machine.record import this_machine
from router.mapping_study import frontier_command
from router.mapping_study.frontier_command import add_arguments

__all__ = ["add_arguments", "run"]


def run(arguments: argparse.Namespace) -> int:
    return frontier_command.run(arguments, asdict(this_machine()), draw)
