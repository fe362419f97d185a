"""`coe config check`: what is wrong with a configuration and its experts, or what it means.

Imports no expert and fetches nothing; torch is imported once the file itself is good.
"""

from __future__ import annotations

import argparse

from coe.assembly.router import check_answer_cache, check_router
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
        config_is_word=True,
    )


def run_check(arguments: argparse.Namespace) -> int:
    """Print the configuration and every expert that is refused, 1 if there is one.

    Raises ConfigError for a configuration that cannot be used.
    """
    config = load_config(arguments.config)
    check_router(config.router, config.names)
    check_answer_cache(config.answer_cache, config.router, config.names)
    print(describe(config))
    from coe.assembly.check_experts import check_experts

    checked = check_experts(config)
    for name in checked.unfetched:
        print(f"expert '{name}': not fetched from the hub yet; it is checked when it is")
    for error in checked.refused.values():
        print(f"refused: {error}")
    print(f"{len(checked.served)} of {len(config.experts)} experts can be served")
    return 1 if checked.refused else 0
