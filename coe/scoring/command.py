"""`coe router score`: runs experts over labelled rows through a runtime, writes the tables and a summary.

The raw rows are handed in. Every request names its expert, so the runtime's router decides nothing and needs no
classifier.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from coe.assembly.router import build_router
from coe.assembly.wire import build_runtime
from coe.bench.report import table
from coe.config.read import load_config
from coe.config.schema import Config, RouterConfig
from coe.errors import ConfigError, nearest
from coe.progress import import_bars, row_bar
from coe.runtime import Runtime
from coe.scoring.labelled import BadRow, LabelledRow, LabelledSet, labelled_rows
from coe.scoring.results import Result, Results
from coe.scoring.run import Settings, costs, score_experts, write_table

__all__ = ["add_arguments", "run"]

Scored = Mapping[str, Sequence[Result]]
Describe = Callable[[Sequence[BadRow]], Sequence[str]]  # what is told of the rows that are left out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    text = "rows of {prompt or messages, category, check, answer or choices}: JSONL, CSV or Parquet"
    parser.add_argument("labelled", type=Path, help=text)
    parser.add_argument("--out", type=Path, required=True, help="the score table to write (.jsonl)")
    parser.add_argument("--experts", nargs="+", metavar="NAME", help="experts to score (default: all)")
    parser.add_argument("--results", type=Path, help="file that keeps every result (default: beside the table)")
    parser.add_argument("--max-tokens", type=_positive, help="of an answer (default: as many as its check needs)")


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number above 0")
    return int(text)


def run(arguments: argparse.Namespace, rows: Iterable[tuple[str, object]], describe: Describe) -> int:
    """Score raw rows, each with its place, and write; raises CoeError. Ctrl-C keeps every finished result."""
    labelled = labelled_rows(rows, arguments.labelled)
    config = load_config(arguments.config)
    if labelled.bad_rows:
        print(*describe(labelled.bad_rows), sep="\n", file=sys.stderr)
    chosen = _only(config, arguments.experts)
    out: Path = arguments.out
    kept: Path = arguments.results or out.with_suffix(".results.jsonl")
    settings = Settings(arguments.max_tokens, min(config.engine.max_batch_size, config.scheduler.max_queue_per_expert))
    with import_bars() as progress:
        runtime = build_runtime(chosen, build_router(chosen.router, chosen.names), progress=progress)
    names = [expert.name for expert in chosen.experts]
    with Results(kept) as results:
        try:
            scored = asyncio.run(_score(runtime, labelled.rows, names, results, settings))
        except KeyboardInterrupt:
            print(f"stopped; {len(results.known)} results are in {kept}: the same command goes on", file=sys.stderr)
            raise
    write_table(out, labelled.rows, scored)
    costs_file = out.with_suffix(".costs.json")
    costs_file.write_text(json.dumps(costs(runtime.experts.served.values()), indent=1) + "\n", encoding="utf-8")
    _report(labelled, scored)
    print(f"next: coe router map {out} --costs {costs_file}")
    print(json.dumps({**_summary(labelled, scored), "table": str(out), "costs": str(costs_file)}))
    return 0


def _only(config: Config, words: Sequence[str] | None) -> Config:
    """Return the configuration with these experts alone (None: all); raises ConfigError for a name that it lacks."""
    for word in words or ():
        if word.lower() not in config.names:
            hint = nearest(word, config.names, "experts")
            raise ConfigError(f"--experts {word}: {config.file} has no such expert; {hint}")
    wanted = [config.names[word.lower()] for word in words] if words else [*config.names.values()]
    experts = tuple(expert for expert in config.experts if expert.name in wanted)
    # the general expert may not be among them, and a composition without one is refused
    return replace(config, experts=experts, router=RouterConfig(general=experts[0].name, enabled=False))


async def _score(
    runtime: Runtime, rows: Sequence[LabelledRow], names: Sequence[str], results: Results, settings: Settings
) -> dict[str, list[Result]]:
    await runtime.start()
    try:
        return await score_experts(runtime, rows, names, results, settings, row_bar)
    finally:
        await runtime.close()


def _report(labelled: LabelledSet, scored: Scored) -> None:
    """Print mean scores by expert and category, and how many rows have no score."""
    categories = sorted({row.category for row in labelled.rows})
    rows = []
    for expert in scored:
        means = [_shown(_mean(labelled.rows, scored[expert], category)) for category in (None, *categories)]
        rows.append([expert, *means])
    print(table(["expert", "all", *categories], rows))
    print(f"{len(labelled.rows)} rows, {len(labelled.bad_rows)} left out")
    for expert, results in scored.items():
        holes = [result for result in results if result.score is None]
        if holes:
            print(f"{expert}: {len(holes)} rows have no score, the first is {holes[0].id}: {holes[0].error}")


def _mean(rows: Sequence[LabelledRow], results: Sequence[Result], category: str | None) -> float | None:
    scores = [
        result.score
        for row, result in zip(rows, results, strict=True)
        if result.score is not None and category in (None, row.category)
    ]
    return fmean(scores) if scores else None


def _shown(mean: float | None) -> str:
    return "-" if mean is None else f"{mean:.3f}"


def _summary(labelled: LabelledSet, scored: Scored) -> dict[str, Any]:
    return {
        "num_rows": len(labelled.rows),
        "num_bad_rows": len(labelled.bad_rows),
        "mean_scores": {expert: _mean(labelled.rows, results, None) for expert, results in scored.items()},
    }
