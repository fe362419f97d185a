"""`coe experts`: the experts of a running server, and commands to it: load, unload, pin, unpin.

Asks over HTTP and imports no torch. `verify`, `gc` and `quantize` work on the store itself, without a server: store.py
and coe/bench/quantize.py have them.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict

from coe.cli.commands import CommandParser, add_command
from coe.cli.server_url import add_url, client_of
from coe.progress import in_gib
from coe.statuses import ExpertStatus, UnitStatus

__all__ = ["add_arguments", "run"]

COMMANDS = {
    "load": "bring experts of a running server to the device",
    "unload": "free what only these experts use",
    "pin": "load experts and keep them",
    "unpin": "let experts go when others need the room",
}
STORE_COMMANDS = {
    "verify": "re-hash stored weights; bad units are removed and imported anew",
    "gc": "free stored weights that neither a configured expert nor a running server needs",
}
HEADERS = (
    *("expert", "kind", "tier", "bytes", "shared", "host", "device", "backend", "dtype"),
    *("calls", "pin", "leases", "loads", "GB/s", "last used", "units", "breaker", "error"),
)


def add_arguments(parser: CommandParser) -> None:
    add_url(parser)
    text = "print the experts and the store as one JSON object"
    parser.add_argument("--json", action="store_true", help=text)
    commands = parser.add_subparsers(metavar="load|unload|pin|unpin|verify|gc|quantize")
    for command, text in COMMANDS.items():
        command_parser = commands.add_parser(command, help=text, description=text)
        command_parser.add_argument("expert", nargs="+")
        add_url(command_parser, default=argparse.SUPPRESS)
        command_parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
        command_parser.set_defaults(run=_command, command=command)
    for command, text in STORE_COMMANDS.items():
        add_command(
            commands,
            command,
            text,
            "coe.cli.store",
            add_arguments=None,
            run=f"run_{command}",
            config_is_word=True,
            input_errors=(OSError,),
        )
    text = "store int8 forms; say what they cost and gain"
    add_command(commands, "quantize", text, "coe.bench.quantize", reads_config=True)


def run(arguments: argparse.Namespace) -> int:
    """Print every expert of the server, and where its store is."""
    with client_of(arguments) as client:
        statuses, store = client.experts(), client.store()
    if arguments.json:
        print(json.dumps({"experts": [asdict(status) for status in statuses], "store": asdict(store)}))
        return 0
    _print_experts(statuses)
    print(f"store: {in_gib(store.disk_bytes)} in {store.folder}")
    return 0


def _command(arguments: argparse.Namespace) -> int:
    """Have the server load, unload, pin or unpin experts, and print where that leaves them."""
    with client_of(arguments) as client:
        statuses = [getattr(client, arguments.command)(expert) for expert in arguments.expert]
    if arguments.json:
        print(json.dumps({"experts": [asdict(status) for status in statuses]}))
    else:
        _print_experts(statuses)
    return 0


def _print_experts(statuses: Sequence[ExpertStatus]) -> None:
    rows = [HEADERS, *map(_row, statuses)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for status in statuses:
        for note in status.notes:
            print(f"{status.name}: {note}")


def _row(status: ExpertStatus) -> tuple[str, ...]:
    speed = f"{status.loaded_bytes / status.load_s / 1e9:.2f}" if status.load_s else "-"
    used = "never" if status.last_used_s is None else f"{status.last_used_s:.0f} s ago"
    sizes = (status.size_bytes, status.shared_bytes, status.host_bytes, status.device_bytes)
    facts = (
        status.backend,
        status.dtype,
        status.tool_calls or "-",
        _pin(status),
        str(status.num_leases),
        str(status.num_loads),
    )
    where = (speed, used, _where(status.units), status.breaker, status.error or "-")
    return (status.name, status.kind, str(status.tier), *map(in_gib, sizes), *facts, *where)


def _pin(status: ExpertStatus) -> str:
    return "yes" if status.is_pinned else "streams" if status.is_streaming else "-"


def _where(units: Sequence[UnitStatus]) -> str:
    """Runs of units in one tier, in execution order: `13 device, 18 disk`."""
    runs = [(tier, len(list(run))) for tier, run in itertools.groupby(unit.tier for unit in units)]
    return ", ".join(f"{count} {tier}" for tier, count in runs) or "-"
