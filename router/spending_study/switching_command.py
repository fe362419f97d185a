"""The command `switching`: what a price of loading keeps of the score, and what it saves of the switching.

Owns its arguments, its report and its figures. Knows nothing about serving but the rule that it judges.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np

from router.mapping_study.figures import plain, print_figures
from router.mapping_study.half_split import HalfSplit, StudyData
from router.mapping_study.intervals import PairedDifference
from router.mapping_study.learned_mapping import Budget
from router.mapping_study.score_table import BYTES_PER_PARAMETER
from router.spending_study.splits import JudgedScores, add_split_arguments, splits_of, study_table
from router.spending_study.switch_simulation import MAPPED, Memory, Ran, asked, learned_file, order, rules, simulate

__all__ = ["add_arguments", "run"]

PRICES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
EPSILONS = (0.01, 0.02, 0.05, 0.1)


class Method(NamedTuple):
    """Means over splits on the judged halves; seconds and loads are per 1,000 prompts."""

    score: float
    deviation: float
    load_s_per_1000: float
    loads_per_1000: float
    mean_active_b: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `coe router switching`."""
    add_split_arguments(parser)
    parser.add_argument("--memory-bytes", type=float, default=40e9, help="what resident experts may take (40e9)")
    parser.add_argument("--bytes-per-s", type=float, default=2e9, help="speed of a load (2e9)")
    parser.add_argument("--run-length", type=int, default=1, help="prompts of one category in a row (1: shuffled)")
    parser.add_argument("--prices", type=float, nargs="+", default=PRICES, help="values of score_per_second")


def run(args: argparse.Namespace) -> int:
    """Run `coe router switching`; returns the exit code."""
    data, notes = study_table(args)
    print(*notes, sep="\n")
    judged = JudgedScores(data.groups)
    ran: dict[str, list[Ran]] = {}
    for seed, split in enumerate(splits_of(data, args.splits)):
        for name, each in run_split(args, data, split, seed).items():
            judged.add(name, each.rows, data.table.values[each.rows, each.columns])
            ran.setdefault(name, []).append(each)
    methods = {name: method_of(data, each) for name, each in ran.items()}
    differences = judged.differences({name: MAPPED for name in methods if name != MAPPED})
    for name, method in methods.items():
        print(line_of(name, method, differences.get(f"{name} - {MAPPED}")))
    setting = {name: getattr(args, name) for name in ("memory_bytes", "bytes_per_s", "run_length", "encoder", "splits")}
    figures = {"setting": setting, "methods": plain(methods), "differences": plain(differences), "notes": notes}
    print_figures(figures, args.json)
    return 0


def run_split(args: argparse.Namespace, data: StudyData, split: HalfSplit, seed: int) -> dict[str, Ran]:
    """Return what each rule does with the judged half, beginning with an empty memory."""
    table = data.table
    learned = learned_file(data, split, Budget(None, args.max_resident_bytes, args.max_experts))
    single = table.experts[int(table.values[split.learn].mean(axis=0).argmax())]
    prompts = asked(split, learned)
    in_order = [prompts[place] for place in order(split, args.run_length, seed)]
    sizes = {name: BYTES_PER_PARAMETER * 1e9 * data.costs[name].total_b for name in table.experts}
    compared = rules(learned, single, tuple(args.prices), EPSILONS)
    return {
        name: simulate(in_order, rule, Memory(sizes, args.memory_bytes, args.bytes_per_s), table.experts)
        for name, rule in compared.items()
    }


def method_of(data: StudyData, ran: list[Ran]) -> Method:
    """Return the means over splits."""
    scores = [data.table.values[each.rows, each.columns].mean() for each in ran]
    return Method(
        score=float(np.mean(scores)),
        deviation=float(np.std(scores)),
        load_s_per_1000=float(np.mean([1000 * each.load_s.mean() for each in ran])),
        loads_per_1000=float(np.mean([1000 * (each.load_s > 0).mean() for each in ran])),
        mean_active_b=float(np.mean([data.active_b[each.columns].mean() for each in ran])),
    )


def line_of(name: str, method: Method, found: PairedDifference | None) -> str:
    """Return a line of the table."""
    beside = "" if found is None else f"  {found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
    return (
        f"{name:28} {method.score:.4f}  {method.load_s_per_1000:8.0f} s  {method.loads_per_1000:6.1f} loads  "
        f"{method.mean_active_b:5.2f} B{beside}"
    )
