"""The command `difficulty`: whether a prompt says more about who will be right on it than its category does.

Owns its arguments, its report and its figures. Knows nothing about serving.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from router.mapping_study.figures import plain, print_figures
from router.mapping_study.half_split import StudyData
from router.spending_study.difficulty import Chances, chances_of, surface, within_category_auroc
from router.spending_study.equal_cost import budgets_between, choose
from router.spending_study.splits import JudgedScores, add_split_arguments, splits_of, study_table

__all__ = ["add_arguments", "run"]

Floats = NDArray[np.floating]
CATEGORY, DIFFICULTY = "category probabilities", "with difficulty"
UNLIMITED = "no limit"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `coe router difficulty`."""
    add_split_arguments(parser)
    parser.add_argument("--budgets", type=int, default=6, help="limits on mean active parameters to compare at (6)")


def run(args: argparse.Namespace) -> int:
    """Run `coe router difficulty`; returns the exit code."""
    data, notes = study_table(args)
    print(*notes, sep="\n")
    features = np.hstack([data.vectors, surface(data.table.prompts)])
    limits = {f"{limit:.2f} B": limit for limit in budgets_between(data.active_b, args.budgets)}
    limits[UNLIMITED] = float("inf")
    judged = JudgedScores(data.groups)
    penalties: list[dict[str, str]] = []
    aurocs: dict[str, dict[str, list[float]]] = {CATEGORY: defaultdict(list), DIFFICULTY: defaultdict(list)}
    points: dict[str, list[tuple[float, float]]] = defaultdict(list)  # score and mean active parameters by split
    for seed, split in enumerate(splits_of(data, args.splits)):
        chances = chances_of(data, features, split, seed)
        penalties.append({"shared": str(chances.shared_penalty), "own": str(chances.own_penalty)})
        for name, expected in by_method(chances).items():
            for limit_name, limit in limits.items():
                columns = choose(expected, data.active_b, limit)
                scores = data.table.values[split.judge, columns]
                judged.add(f"{name}, {limit_name}", split.judge, scores)
                points[f"{name}, {limit_name}"].append((scores.mean(), data.active_b[columns].mean()))
            add_aurocs(aurocs[name], data, split.judge, expected)
    result = {
        "auroc_within_category": {name: {e: float(np.mean(v)) for e, v in row.items()} for name, row in aurocs.items()},
        "frontier": {name: summary(each) for name, each in points.items()},
        "differences": plain(judged.differences({f"{DIFFICULTY}, {n}": f"{CATEGORY}, {n}" for n in limits})),
        "penalties": penalties,
        "setting": {"splits": args.splits, "encoder": args.encoder, "num_prompts": len(data.groups)},
        "notes": notes,
    }
    report(result)
    print_figures(result, args.json)
    return 0


def by_method(chances: Chances) -> dict[str, Floats]:
    return {CATEGORY: chances.by_category, DIFFICULTY: chances.with_difficulty}


def add_aurocs(found: dict[str, list[float]], data: StudyData, judge: NDArray[np.integer], expected: Floats) -> None:
    """Add the figure of each expert that can be ranked."""
    for column, expert in enumerate(data.table.experts):
        auroc = within_category_auroc(expected[:, column], data.table.values[judge, column], data.truth[judge])
        if auroc is not None:
            found[expert].append(auroc)


def summary(points: list[tuple[float, float]]) -> dict[str, float]:
    """Return the means over splits."""
    scores, active_b = zip(*points, strict=True)
    return {
        "score": float(np.mean(scores)),
        "deviation": float(np.std(scores)),
        "mean_active_b": float(np.mean(active_b)),
    }


def report(result: dict[str, dict[str, dict[str, float]]]) -> None:
    """Print the figures for people."""
    for expert, auroc in result["auroc_within_category"][DIFFICULTY].items():
        print(f"{expert:36} AUROC {result['auroc_within_category'][CATEGORY][expert]:.3f} -> {auroc:.3f}")
    for name, point in result["frontier"].items():
        print(f"{name:36} {point['score']:.4f} ± {point['deviation']:.4f}  {point['mean_active_b']:7.2f} B")
    for name, found in result["differences"].items():
        print(f"{name:64} {found['difference']:+.4f} [{found['low']:+.4f}, {found['high']:+.4f}]")
