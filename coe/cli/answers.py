"""`coe answers`: what the answer cache of a running server holds, and a command to it: clear. Asks over HTTP."""

from __future__ import annotations

import argparse

from coe.cli.commands import CommandParser
from coe.cli.server_url import add_url, client_of

__all__ = ["add_arguments", "run"]


def add_arguments(parser: CommandParser) -> None:
    add_url(parser)
    text = "have a running server forget every kept answer"
    clear = parser.add_subparsers(metavar="clear").add_parser("clear", help=text, description=text)
    add_url(clear, default=argparse.SUPPRESS)
    clear.set_defaults(run=_clear)


def run(arguments: argparse.Namespace) -> int:
    """Print what is kept, and how often it answered."""
    with client_of(arguments) as client:
        now = client.answers()
    if not now.is_enabled:
        print("the answer cache is off; [answer_cache] enabled = true turns it on")
        return 0
    asked = now.num_exact_hits + now.num_semantic_hits + now.num_misses
    print(f"answers   {now.num_answers} in {now.used_bytes} of {now.budget_bytes} bytes")
    print(
        f"asked     {asked}: {now.num_exact_hits} exact hits, {now.num_semantic_hits} semantic, {now.num_misses} misses"
    )
    print(f"removed   {now.num_evicted} to make room, {now.num_expired} too old")
    return 0


def _clear(arguments: argparse.Namespace) -> int:
    with client_of(arguments) as client:
        print(f"{client.clear_answers()} answers forgotten")
    return 0
