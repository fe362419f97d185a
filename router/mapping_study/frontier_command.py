"""The command `frontier`: the best score at every budget on active parameters, and how it holds on held-out halves.

Owns its arguments, its report and its figures. Knows nothing about serving.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from router.encoding.cached_encoder import load_encoder
from router.labelled.duplicates import groups_of
from router.mapping_study.candidates import add_candidate_arguments, candidates
from router.mapping_study.figures import plain, print_figures
from router.mapping_study.frontier_plot import paint
from router.mapping_study.half_split import StudyData, check_balance, half_split, small_categories
from router.mapping_study.learned_mapping import Budget, frontier
from router.mapping_study.score_table import Cost, ScoreTable
from router.mapping_study.study import cheapest_share, held_out_curve, study_of

__all__ = ["add_arguments", "run"]

Draw = Callable[[Mapping[Path, Callable[[Any], None]]], None]  # files, and what paints on a figure for each

SHARE = 0.98  # of the best single model's score


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `coe router frontier`."""
    add_candidate_arguments(parser)
    parser.add_argument("--study", type=int, nargs="?", const=20, default=0, help="judge by so many half-splits (20)")
    parser.add_argument("--curve", type=int, default=0, help="with --study: held-out scores at so many budgets")
    text = "with --study: leave out categories that have too few prompts to be halved"
    parser.add_argument("--skip-small", action="store_true", help=text)
    parser.add_argument("--encoder", default="all-MiniLM-L6-v2")
    parser.add_argument("--plot", type=Path, help="write a PNG of the frontier here")


def run(args: argparse.Namespace, machine: Mapping[str, object], draw: Draw) -> int:
    """Run `coe router frontier`; `machine` says where the figures were made. Returns the exit code.

    The figures are written and printed before anything is drawn.
    """
    table, costs, notes = candidates(args)
    pool = table.pool(np.array(table.categories), costs)
    budget = Budget(None, args.max_resident_bytes, args.max_experts)
    points = frontier(pool, budget=budget, show=bar("budgets"))
    best = float((pool.frequencies @ pool.scores).max())
    print(*notes, sep="\n")
    for point in points:
        print(f"{point.mean_active_b:8.2f} B active on average  score {point.score:.4f}  {point.num_experts} experts")
    result: dict[str, Any] = {"points": [asdict(point) for point in points], "best_single": best, "notes": notes}
    if args.study:
        result |= run_study(args, table, costs)
    print_figures(result | {"provenance": machine}, args.json)
    if args.plot:
        draw({args.plot: partial(paint, pool, points, result)})
    return 0


def bar(what: str) -> Any:
    """Return what draws a bar over the things that it is given, on stderr where that is a terminal."""
    return partial(tqdm, desc=what, file=sys.stderr, disable=None)


def run_study(args: argparse.Namespace, table: ScoreTable, costs: Mapping[str, Cost]) -> dict[str, Any]:
    """Run and print the half-splits; rows with a hole are left out, and counted."""
    complete = table.complete_rows()
    if not len(complete):
        raise ValueError(f"{args.scores}: no prompt has scores of every expert; name fewer with --expert")
    print(f"half-splits of the {len(complete)} prompts that every expert was measured on, of {len(table.prompts)}")
    table = table.rows(complete)
    groups = np.unique(groups_of(table.prompts), return_inverse=True)[1]
    data = StudyData(table, load_encoder(args.encoder, args.device, args.cache).encode(table.prompts), groups, costs)
    if args.skip_small:
        data = without_small(data)
    check_balance(data)
    splits = [half_split(data, seed) for seed in bar("half-splits")(range(args.study))]
    study = study_of(data, splits, bar("mappings of half-splits"))
    result: dict[str, Any] = {"study": plain(study), "encoder": args.encoder, "seeds": list(range(args.study))}
    print(f"category accuracy {study.category_accuracy:.4f}; classifiers chosen: {study.classifiers}")
    for name, method in sorted(study.methods.items(), key=lambda item: item[1].score):
        print(f"{name:32} {method.score:.4f} ± {method.deviation:.4f}  {method.mean_active_b:6.2f} B")
    for name, found in study.differences.items():
        print(f"{name:58} {found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]  p {found.p:.4f}")
    if args.curve:
        curve = held_out_curve(data, splits, args.curve, bar("budgets, held out"))
        kept = cheapest_share(curve, SHARE * study.methods["best single model"].score)
        result |= {"curve": plain(curve), "keeps_98_percent": plain(kept)}
        for point in curve:
            print(
                f"at most {point.max_mean_active_b:7.2f} B: held out {point.score:.4f} at {point.mean_active_b:.2f} B"
            )
        print(f"98 % of the best single model's held-out score: {plain(kept)}")
    return result


def without_small(data: StudyData) -> StudyData:
    """Leave out the categories that are too small for a study, and say which."""
    small = small_categories(data)
    if not small:
        return data
    kept = np.flatnonzero(~np.isin(data.truth, list(small)))
    named = ", ".join(f"{name} {count}" for name, count in small.items())
    num_left_out = len(data.truth) - len(kept)
    print(f"left out, too few distinct prompts: {num_left_out} prompts of {len(small)} categories ({named})")
    return data.rows(kept)
