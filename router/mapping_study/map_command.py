"""The command `map`: a mapping learned from a score table under a budget, and the file that serving reads.

Owns its arguments, the labels that prompts get, the report and the file. Knows nothing about serving.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from router.encoding.cached_encoder import load_encoder
from router.labelled.prompts import merged, read_prompts
from router.mapping_study.candidates import add_candidate_arguments, candidates
from router.mapping_study.figures import plain, print_figures
from router.mapping_study.learned_mapping import Budget, ExpertPool
from router.mapping_study.one_standard_error import fewest_experts
from router.mapping_study.router_labels import router_labels
from router.mapping_study.score_table import Cost, ScoreTable
from router.model.artefact import load_artefact

__all__ = ["add_arguments", "run"]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A score table, the label of each of its prompts, and the experts' costs."""

    table: ScoreTable
    labels: NDArray[np.str_]
    costs: Mapping[str, Cost]
    notes: tuple[str, ...]  # what was left out, and where the labels come from

    @property
    def pool(self) -> ExpertPool:
        return self.table.pool(self.labels, self.costs)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `coe router map`."""
    add_candidate_arguments(parser)
    parser.add_argument("--max-mean-active-b", type=float, help="budget on the mean of active parameters, in billions")
    parser.add_argument(
        "--artefact", type=Path, help="a trained router: it labels the prompts, as it will when serving"
    )
    text = "with --artefact: the rows that it was trained on; prompts among them get labels out of fold"
    parser.add_argument("--train", type=Path, nargs="+", default=[], help=text)
    text = "take the fewest experts within so many standard errors of the optimum (1; default 0)"
    parser.add_argument("--standard-errors", type=float, default=0.0, help=text)


def run(args: argparse.Namespace) -> int:
    """Run `coe router map`; returns the exit code."""
    data = labelled(args)
    budget = Budget(args.max_mean_active_b, args.max_resident_bytes, args.max_experts)
    learned = fewest_experts(data.table, data.labels, data.costs, budget, args.standard_errors)
    expected = data.table.expected_scores(data.labels)
    print(*data.notes, sep="\n")
    for category, expert in learned.mapping.items():
        cell = expected[category][expert]
        print(f"{category:24} {expert:36} {cell.score:.3f} [{cell.low:.3f}, {cell.high:.3f}] of {cell.num_prompts}")
    print(
        f"score {learned.score:.4f} on the rows learned from, {learned.mean_active_b:.2f} B active on average, "
        f"{learned.num_experts} experts, {learned.size_bytes / 1e9:.1f} GB"
    )
    pool = data.pool
    figures = {
        **asdict(learned),
        "budget": asdict(budget),
        "standard_errors": args.standard_errors,
        "frequencies": dict(zip(pool.categories, pool.frequencies.tolist(), strict=True)),
        "expected_scores": {category: plain(row) for category, row in expected.items()},
        "active_b": dict(zip(pool.experts, pool.active_b.tolist(), strict=True)),
        "notes": data.notes,
    }
    print_figures(figures, args.json)
    return 0


def labelled(args: argparse.Namespace) -> Labelled:
    """Return the table with the labels of the router that the arguments name, else the table's own categories.

    Raises:
        ValueError: --train without --artefact, or a router that abstains on every prompt.
    """
    table, costs, notes = candidates(args)
    if args.artefact is None:
        if args.train:
            raise ValueError("--train names what a router was trained on: name the router with --artefact, too")
        note = "categories and their frequencies: the table's own (--artefact DIR: the router's)"
        return Labelled(table, np.array(table.categories), costs, (*notes, note))
    artefact = load_artefact(args.artefact)
    encoder = load_encoder(artefact.encoder_source, args.device, args.cache)
    artefact.check_encoder(encoder.id)
    trained_on = merged(read_prompts(path) for path in args.train).prompts
    found = router_labels(artefact, encoder, table.prompts, trained_on)
    note = f"categories and their frequencies: the router's; {(~found.is_sure).mean():.1%} of prompts abstain, left out"
    sure = np.flatnonzero(found.is_sure)
    if not len(sure):
        raise ValueError(f"{args.artefact}: the router abstains on every prompt of {args.scores}; map another table")
    return Labelled(table.rows(sure), found.labels[sure], costs, (*notes, *found.notes, note))
