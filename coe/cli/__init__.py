"""The command line: `coe serve`, `chat`, `route`, `experts`, `answers`, `keys`, `config`, `router`, `bench`; one module
a verb.

Owns the list of verbs, logging and exit codes: 0 done, 1 failed, 2 a configuration or a command that cannot be used,
130 interrupted, 141 nobody reads what it prints. Each verb's module owns its grammar beside its work and is imported
when the verb is chosen (commands.py). The one folder that knows coe, the router and the server together.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from coe import __version__
from coe.cli.commands import CommandParser, add_command
from coe.errors import CoeError, ConfigError
from coe.machine.allowance import usable_cpus

__all__ = ["main"]

NOISY = ("httpx", "transformers", "huggingface_hub", "ContinuousBatchingLogger")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; `argv` None takes the process's own words. Returns the exit code."""
    try:
        arguments = _parser().parse_args(argv)
        _log_to_stderr(logging.DEBUG if arguments.verbose else logging.INFO)
        _limit_math_threads()
        code: int | None = arguments.run(arguments)
        sys.stdout.flush()
    except ConfigError as error:
        print(f"coe: {error}", file=sys.stderr)
        return 2
    except CoeError as error:
        print(f"coe: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the flush at the exit would raise again
        return 141
    return code or 0


def _limit_math_threads() -> None:
    """Let torch, MKL and OpenBLAS, which size their pools when they are loaded, see what this process may use."""
    os.environ.setdefault("OMP_NUM_THREADS", str(usable_cpus()))


def _log_to_stderr(level: int) -> None:
    logging.basicConfig(level=level, format="%(asctime)s %(levelname).1s %(name)s %(message)s", stream=sys.stderr)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


def _parser() -> CommandParser:
    parser = CommandParser(prog="coe", description="Composition-of-Experts serving")
    parser.add_argument("--version", action="version", version=f"coe {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="log more")
    verbs = parser.add_subparsers(required=True, metavar="command")
    add_command(verbs, "serve", "serve a configuration over HTTP", "coe.cli.serve", config_is_word=True)
    text = "talk to a running server; see which expert answers, and why"
    add_command(verbs, "chat", text, "coe.cli.chat.command", config_is_word=True)
    text = "say which expert would answer a prompt, and why"
    add_command(verbs, "route", text, "coe.cli.route", reads_config=True)
    add_command(verbs, "experts", "show the experts of a running server; look after the store", "coe.cli.experts")
    add_command(verbs, "answers", "show and clear the answer cache of a running server", "coe.cli.answers")
    add_command(verbs, "keys", "make API keys for a server", "coe.cli.keys", run=None)
    add_command(verbs, "config", "work with a configuration", "coe.cli.config", run=None)
    add_command(verbs, "router", "train, measure and explain routers", "coe.cli.router", run=None)
    add_command(verbs, "bench", "measure", "coe.cli.bench", run=None)
    return parser
