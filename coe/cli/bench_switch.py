"""`coe bench switch`: reads the configuration, unless the experts are synthetic, and runs the benchmark."""

from __future__ import annotations

import argparse

from coe.bench import switch
from coe.bench.switch import add_arguments
from coe.config.read import load_config

__all__ = ["add_arguments", "run"]


def run(arguments: argparse.Namespace) -> int:
    return switch.run(None if arguments.synthetic else load_config(arguments.config), arguments)
