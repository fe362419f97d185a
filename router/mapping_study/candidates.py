"""The candidates of a mapping: the experts that it may choose from, their scores and their costs.

Owns the arguments and the choice that the commands `map` and `frontier` share, and notes of what was left out. Knows
nothing about routers.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from router.labelled.bad_rows import lines_about
from router.mapping_study.score_table import Cost, ScoreTable, costs_of, read_scores

__all__ = ["SCORES_HELP", "Candidates", "add_candidate_arguments", "candidates"]

SCORES_HELP = "rows of {prompt, category, scores: {expert: 0 … 1 or null}}, or a folder of published results"


class Candidates(NamedTuple):
    """Each prompt once, with the experts whose cost is known and allowed; `notes` say what was left out."""

    table: ScoreTable
    costs: Mapping[str, Cost]
    notes: tuple[str, ...]


def add_candidate_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `map` and `frontier` share."""
    parser.add_argument("scores", type=Path, help=SCORES_HELP)
    parser.add_argument("--costs", type=Path, help="JSON of {expert: {active_b, total_b}}; default: numbers in names")
    parser.add_argument("--max-model-b", type=float, help="only experts of at most so many billion parameters in all")
    parser.add_argument("--expert", action="append", default=[], help="only this expert (repeatable)")
    parser.add_argument("--without", action="append", default=[], help="leave this expert out (repeatable)")
    parser.add_argument("--max-resident-bytes", type=float, help="budget on the bytes of all experts used")
    parser.add_argument("--max-experts", type=int, help="budget on how many experts are used")
    parser.add_argument("--device", default="cpu", help="where the encoder runs")
    parser.add_argument("--cache", type=Path, help="folder that keeps embeddings between runs")
    parser.add_argument("--json", type=Path, help="write the figures here, too")


def candidates(args: argparse.Namespace) -> Candidates:
    """Return what the arguments leave of a score table.

    Raises:
        ValueError: no expert is left, or one that is named has no scores.
    """
    read = read_scores(args.scores)
    table = read.merged()
    costs = costs_of(table.experts, args.costs)
    unsized = [expert for expert in table.experts if expert not in costs]
    limit = args.max_model_b or float("inf")
    refused = table.only(args.without).experts
    table = table.only([expert for expert in args.expert or table.experts if expert not in refused])
    table = table.only([expert for expert in table.experts if expert in costs and costs[expert].total_b <= limit])
    if not table.experts:
        raise ValueError(f"{args.scores}: no expert of a known size up to {limit:g} billion; give --costs")
    notes = [f"{len(read.prompts)} rows, {len(table.prompts)} distinct prompts", f"pool: {', '.join(table.experts)}"]
    notes += lines_about(read.bad_rows) if read.bad_rows else []
    notes += [f"left out, size unknown (--costs): {', '.join(unsized)}"] if unsized else []
    return Candidates(table, costs, tuple(notes))
