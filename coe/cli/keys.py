"""`coe keys add`: a new API key, whose secret is printed once and whose hash goes into the file of keys."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from coe.cli.commands import CommandParser, add_command
from coe.config.read import load_config
from coe.errors import ConfigError
from server.access.keys import Key, entry_of, new_key, parse_keys

__all__ = ["add_add_arguments", "add_arguments", "run_add"]


def add_arguments(parser: CommandParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="add")
    text = "make an API key: print it, once, and write its hash into the file of keys"
    add_command(commands, "add", text, __name__, add_arguments="add_add_arguments", run="run_add", reads_config=True)


def add_add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="who or what the key is for, in logs and limits")
    parser.add_argument("--admin", action="store_true", help="the key may ask for /admin and /metrics, too")
    parser.add_argument("--file", type=Path, help="the file of keys (default: [access] keys); - prints the entry")


def run_add(arguments: argparse.Namespace) -> int:
    """Print the key; raises ConfigError for a name that is taken and for a file that cannot be written."""
    key = new_key()
    entry = entry_of(arguments.name, key.sha256, is_admin=arguments.admin)
    if str(arguments.file) == "-":
        print(entry, end="")
        print(f"{key.secret}  (the key of {arguments.name}; it is shown this once)", file=sys.stderr)
        return 0
    file = arguments.file or _configured(arguments.config)
    _append(file, entry)
    print(f"wrote [{arguments.name}] to {file}; a running server knows it after a restart", file=sys.stderr)
    print(key.secret)
    return 0


def _configured(config: str) -> Path:
    file = load_config(config).access.keys
    if file is None:
        raise ConfigError(f'{config}: there is no [access] keys; write keys = "keys.toml" there, or name a --file')
    return file


def _append(file: Path, entry: str) -> None:
    """Write the entry to the end of the file, which only its owner may read; all of it stays a file of keys."""
    try:
        before = file.read_text(encoding="utf-8") if file.exists() else ""
        after = f"{before.rstrip()}\n\n{entry}".lstrip()
        parse_keys(after, str(file), Key("", ""))
        partial = file.with_name(f"{file.name}.partial")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
            out.write(after)
        partial.replace(file)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be written ({error}); name another --file") from error
