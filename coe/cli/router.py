"""`coe router`: the scores that a mapping is learned from, and the commands of the package `router`.

Those are modules with a grammar of their own, which raise ValueError or FileNotFoundError for input that the user has
to mend.
"""

from __future__ import annotations

from coe.cli.commands import CommandParser, add_command

__all__ = ["add_arguments"]

INPUT_ERRORS = (ValueError, FileNotFoundError)
COMMANDS = {
    "train": ("router.train", "add_arguments", "run", "train a router on prompts of your own"),
    "evaluate": ("router.evaluate", "add_arguments", "run", "measure a router on held-out prompts"),
    "map": ("router.frontier", "add_map_arguments", "run_map", "learn category -> expert under a budget"),
    "frontier": ("router.frontier", "add_arguments", "run", "sweep the budget: quality against cost"),
    "stickiness": ("router.follow_ups", "add_arguments", "run", "follow-ups that stay, new topics that move"),
    "explain": ("router.explain", "add_arguments", "run", "say why a prompt goes where it goes"),
}


def add_arguments(parser: CommandParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="|".join([*COMMANDS, "score"]))
    text = "run experts over labelled prompts; writes what `map` reads"
    add_command(commands, "score", text, "coe.scoring.command", reads_config=True)
    for name, (module, add, run, help_text) in COMMANDS.items():
        add_command(commands, name, help_text, module, add_arguments=add, run=run, input_errors=INPUT_ERRORS)
