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

from coe.errors import ConfigError, nearest

__all__ = ["CommandParser", "Commands", "add_command"]

DEFAULT_CONFIG = "coe.toml"

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

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a word that is no command, with the nearest one; argparse lists them all."""
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:
            raise argparse.ArgumentError(
                None, f"there is no command '{value}'; {nearest(value, action.choices, 'commands')}"
            )
        super()._check_value(action, value)


class _ConfigFile(argparse.Action):
    """The configuration file, as an option or as a word; never both."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, _: Any = None
    ) -> None:
        if getattr(namespace, "names_config", False):
            parser.error(f"two configuration files, {namespace.config} and {values}; name one")
        namespace.config, namespace.names_config = values, True


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
    config_is_word: bool = False,
    input_errors: tuple[type[Exception], ...] = (),
) -> None:
    """Add the command `name`; its arguments and what it runs are two functions of `module`, by name.

    `run` None is for a command that only has sub-commands. With `reads_config` the command has `--config`, too; with
    `config_is_word` it has, and the file may also stand by itself: `coe serve my.toml`.
    `input_errors` are the exceptions that `run` raises for input that the user has to mend: they become ConfigErrors.
    """

    def load(parser: CommandParser) -> None:
        imported = importlib.import_module(module)
        if reads_config or config_is_word:
            _add_config(parser, config_is_word)
        if add_arguments is not None:
            getattr(imported, add_arguments)(parser)
        if run is not None:
            parser.set_defaults(run=_refusing(getattr(imported, run), input_errors))

    commands.add_parser(name, help=help_text, description=help_text, load=load)


def _add_config(parser: CommandParser, is_word: bool) -> None:
    text = f"configuration file (default: {DEFAULT_CONFIG})"
    parser.add_argument("--config", "-c", action=_ConfigFile, default=DEFAULT_CONFIG, help=text)
    if is_word:
        parser.add_argument(
            "config", nargs="?", action=_ConfigFile, default=argparse.SUPPRESS, metavar="coe.toml", help="the same"
        )


def _refusing(run: Run, input_errors: tuple[type[Exception], ...]) -> Run:
    def run_it(arguments: argparse.Namespace) -> int | None:
        try:
            return run(arguments)
        except BrokenPipeError:  # an OSError that is nobody's mistake
            raise
        except input_errors as error:
            raise ConfigError(" ".join(str(error).split())) from error

    return run_it
