"""`coe config check`: what is wrong with a configuration, or what it means. Loads no model and imports no torch."""

from __future__ import annotations

import argparse

from coe.assembly.router import check_router
from coe.cli.commands import CommandParser, add_command
from coe.config.describe import describe
from coe.config.read import load_config

__all__ = ["add_arguments", "run_check"]


def add_arguments(parser: CommandParser) -> None:
    text = "say what is wrong with a configuration, or what it means"
    add_command(
        parser.add_subparsers(required=True, metavar="check"),
        "check",
        text,
        __name__,
        add_arguments=None,
        run="run_check",
        reads_config=True,
    )


def run_check(arguments: argparse.Namespace) -> int:
    """Print the configuration; raises ConfigError for one that cannot be used."""
    config = load_config(arguments.config)
    check_router(config.router, config.names)
    print(describe(config))
    return 0
