"""`coe router evaluate`: tells the router's command which machine its figures are made on, and how to draw."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from coe.bench.picture import draw
from coe.machine.record import this_machine
from router.evaluation import evaluate_command
from router.evaluation.evaluate_command import add_arguments

__all__ = ["add_arguments", "run"]


def run(arguments: argparse.Namespace) -> int:
    return evaluate_command.run(arguments, asdict(this_machine()), draw)
