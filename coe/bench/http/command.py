"""The command `coe bench http`: what the server costs beside the engine.

First an engine that answers at once: what a request and a streamed token take on one core of their own, where the
machine has two, routing excluded (the model is named); tokens that come together are written together. Then one that
gives each stream 20 tokens a second, one at a time. Then a real engine on a tiny model, whose steps are so short
that the server matters: its tokens a second over HTTP beside those in process. Clients are another process. Not
covered: TLS, proxies, requests that are long. The server itself is handed in, because this package does not import it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import cast

from coe.bench.arguments import add_out_argument, at_least
from coe.bench.http.instant_engine import InstantEngine
from coe.bench.http.measures import Overhead, Paced, Served, StepRates, clients, overhead, paced, step_rates
from coe.bench.http.tiny_expert import tiny_config
from coe.bench.report import Output, record, table
from coe.config.schema import Config
from coe.engine.loop import Engine

__all__ = ["Serve", "add_arguments", "run"]

Serve = Callable[[Config], AbstractContextManager[Served]]

STREAMS = (1, 8, 200)
STEP_S = 0.05  # 20 tokens a second for each stream
AIMS = {"request_p50_ms": 2.0, "streamed_token_ms": 0.2, "step_rate": 0.95}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--requests", type=at_least(1), default=1000, help="of each kind, at each number of streams")
    parser.add_argument("--streams", type=at_least(1), nargs="+", default=STREAMS, help="answers at a time")
    parser.add_argument("--tokens", type=at_least(2), default=128, help="of a streamed answer")
    parser.add_argument("--rounds", type=at_least(1), default=5, help="of the real engine")
    add_out_argument(parser, "http.json")


def run(arguments: argparse.Namespace, serve: Serve) -> int:
    """Print both tables, then one JSON line."""
    output = Output(arguments.out)
    most = max(arguments.streams)
    with (
        tempfile.TemporaryDirectory(prefix="coe-bench-http-") as folder,
        serve(tiny_config(Path(folder), most)) as served,
    ):
        with clients(on_one_core=False) as asking:
            rates = step_rates(served, asking, most, arguments.tokens, arguments.rounds)
        engine = served.runtime.engine
        with clients(on_one_core=True) as asking:
            served.runtime.engine = cast(Engine, InstantEngine(engine, STEP_S))
            one_by_one = paced(served, asking, most, arguments.tokens, STEP_S)
            served.runtime.engine = cast(Engine, InstantEngine(engine))
            found = [overhead(served, asking, each, arguments.requests, arguments.tokens) for each in arguments.streams]
    _show(found, one_by_one, rates)
    figures = {"aims": AIMS, "overhead": [asdict(each) for each in found]}
    figures |= {"paced": asdict(one_by_one), "step_rate": asdict(rates)}
    output.publish("http", record("http", figures))
    return 0


def _show(found: Sequence[Overhead], one_by_one: Paced, rates: StepRates) -> None:
    headers = ("streams", "request p50 ms", "p95 ms", "core ms each", "streamed: core ms", "ms a further token")
    rows = [
        (
            str(each.num_streams),
            *(f"{value:.2f}" for value in (each.whole_p50_ms, each.whole_p95_ms, each.whole_core_ms)),
            *(f"{each.streamed_core_ms:.2f}", f"{each.streamed_token_ms:.3f}"),
        )
        for each in found
    ]
    print(table(headers, rows))
    print(f"aims: request p50 of 1 stream < {AIMS['request_p50_ms']} ms, token < {AIMS['streamed_token_ms']} ms\n")
    print(
        f"{one_by_one.num_streams} streams of {one_by_one.tokens_per_s_each:g} tokens/s, one at a time: "
        f"{one_by_one.times_late:.2f} times their time, {one_by_one.token_core_ms:.3f} ms of a core a token\n"
    )
    row = (rates.num_streams, rates.in_process_tokens_per_s, rates.http_tokens_per_s)
    cells = (*(f"{each:.0f}" for each in row), f"{rates.ratio:.3f}")
    print(table(("streams", "in process tokens/s", "over HTTP", "ratio"), [cells]))
    print(f"aim: ratio >= {AIMS['step_rate']}; each round: {', '.join(f'{each:.3f}' for each in rates.ratios)}\n")
