"""The command `coe bench engine`: its arguments, and which half runs, on the CPU or on a GPU."""

from __future__ import annotations

import argparse
from pathlib import Path

from coe.bench.arguments import add_json_argument, add_out_argument, at_least
from coe.bench.engine import cpu_engine, device_engine
from coe.config.read import load_config

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    count = at_least(1)
    parser.add_argument("--expert", help="which expert (default: the general one)")
    parser.add_argument("--quick", action="store_true", help="a trial: small cells, one run")
    parser.add_argument("--batches", type=count, nargs="+", help="batch sizes (default 1 4 8 16 32)")
    parser.add_argument("--prompts", type=count, nargs="+", help="prompt lengths in tokens (default 64 512 2048)")
    text = "new tokens a sequence (default 32; cuda: 64), at least 2: the first is the prefill's"
    parser.add_argument("--tokens", type=at_least(2), help=text)
    parser.add_argument("--runs", type=count, default=3, help="runs of a cell, medians (default 3)")
    add_out_argument(parser, "engine-<dtype>.json and .png (cuda: engine-device.json)")
    add_json_argument(parser)
    text = "a GGUF of the expert; made into the same precision"
    parser.add_argument("--gguf", type=Path, action="append", default=[], help=text)
    parser.add_argument("--no-transformers", action="store_true", help="leave transformers out")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cuda: captured and eager, no rivals")
    text = "cuda: a random model of this size too (8b, 1b; repeatable)"
    parser.add_argument("--synthetic", action="append", default=[], metavar="SIZE", help=text)


def run(arguments: argparse.Namespace) -> int:
    """Run the benchmark; prints tables, then one JSON line. Returns the exit code."""
    config = load_config(arguments.config)
    measure = device_engine.run if arguments.device == "cuda" else cpu_engine.run
    return measure(config, arguments)
