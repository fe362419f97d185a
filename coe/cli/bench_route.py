"""`coe bench route`: hands what the router measures of itself to the benchmark, which does not import the router."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from coe.bench import route
from router.evaluation import latency_report, quality_report

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder for one JSON file and one picture per part")
    latency_report.add_arguments(parser)
    quality_report.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure latency and, where prompts are given, quality; each section when its turn comes."""
    measures: list[Callable[[argparse.Namespace, int], route.Section]] = [latency_report.measure]
    if arguments.prompts:
        measures.append(quality_report.measure)
    seed: int = arguments.seed
    return route.run((measure(arguments, seed) for measure in measures), seed=seed, out=arguments.out)
