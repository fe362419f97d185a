"""Commands whose modules are imported when the command is chosen: how the command line keeps torch out of its way.

A command is a module with `add_arguments(parser)` and `run(arguments)`, and imports at its top what it needs. `coe
--help` and light commands never pay for heavy ones; `coe serve` alone imports once more, later (serve.py). Knows
nothing about what a command does.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from typing import Any, TypeAlias

from coe.errors import ConfigError

__all__ = ["CommandParser", "Commands", "add_command"]

Run = Callable[[argparse.Namespace], int | None]


class CommandParser(argparse.ArgumentParser):
    """A parser that calls `load` once, before it first parses. `load` adds the arguments and sets what to run."""

    def __init__(self, *, load: Callable[[CommandParser], None] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._load = load

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        if self._load is not None:
            load, self._load = self._load, None
            load(self)
        return super().parse_known_args(args, namespace)


Commands: TypeAlias = "argparse._SubParsersAction[CommandParser]"


def add_command(
    commands: Commands,
    name: str,
    help_text: str,
    module: str,
    *,
    add_arguments: str | None = "add_arguments",
    run: str | None = "run",
    reads_config: bool = False,
    input_errors: tuple[type[Exception], ...] = (),
) -> None:
    """Add the command `name`; its arguments and what it runs are two functions of `module`, by name.

    `run` None is for a command that only has sub-commands. With `reads_config` the command has `--config`, too.
    `input_errors` are the exceptions that `run` raises for input that the user has to mend: they become ConfigErrors.
    """

    def load(parser: CommandParser) -> None:
        imported = importlib.import_module(module)
        if reads_config:
            parser.add_argument("--config", "-c", default="coe.toml", help="configuration file (default: coe.toml)")
        if add_arguments is not None:
            getattr(imported, add_arguments)(parser)
        if run is not None:
            parser.set_defaults(run=_refusing(getattr(imported, run), input_errors))

    commands.add_parser(name, help=help_text, description=help_text, load=load)


def _refusing(run: Run, input_errors: tuple[type[Exception], ...]) -> Run:
    def run_it(arguments: argparse.Namespace) -> int | None:
        try:
            return run(arguments)
        except BrokenPipeError:  # an OSError that is nobody's mistake
            raise
        except input_errors as error:
            raise ConfigError(" ".join(str(error).split())) from error

    return run_it
