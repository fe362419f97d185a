"""What the studies of spending share: a score table's half-splits, and means of a method over them, paired by prompt.

Owns the arguments that name the table, the encoder and the splits. Knows nothing about what a method spends.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from router.encoding.cached_encoder import load_encoder
from router.labelled.duplicates import groups_of
from router.mapping_study.candidates import add_candidate_arguments, candidates
from router.mapping_study.half_split import HalfSplit, StudyData, check_balance, half_split
from router.mapping_study.intervals import PairedDifference, paired_bootstrap

__all__ = ["JudgedScores", "StudyTable", "add_split_arguments", "splits_of", "study_table"]

Floats = NDArray[np.floating]


class StudyTable(NamedTuple):
    """The prompts that every expert was measured on, and notes of what was left out."""

    data: StudyData
    notes: tuple[str, ...]


def add_split_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a score table, its experts and its half-splits."""
    add_candidate_arguments(parser)
    parser.add_argument("--splits", type=int, default=10, help="half-splits (10)")
    parser.add_argument("--encoder", default="multilingual-e5-small")


def study_table(args: argparse.Namespace) -> StudyTable:
    """Read the table and encode its prompts.

    Raises:
        ValueError: no prompt has scores of every expert, or too few to halve.
    """
    table, costs, notes = candidates(args)
    complete = table.complete_rows()
    if not len(complete):
        raise ValueError(f"{args.scores}: no prompt has scores of every expert; name fewer with --expert")
    note = f"half-splits of the {len(complete)} prompts that every expert was measured on, of {len(table.prompts)}"
    table = table.rows(complete)
    groups = np.unique(groups_of(table.prompts), return_inverse=True)[1]
    vectors = load_encoder(args.encoder, args.device, args.cache).encode(table.prompts)
    data = StudyData(table, vectors, groups, costs)
    check_balance(data)
    return StudyTable(data, (*notes, note))


def splits_of(data: StudyData, num_splits: int) -> Iterator[HalfSplit]:
    """Yield the seeded splits, with a bar of progress."""
    from tqdm import tqdm

    for seed in tqdm(range(num_splits), desc="half-splits", disable=None):
        yield half_split(data, seed)


class JudgedScores:
    """Scores of methods on judged prompts, summed over splits; a prompt is judged in about half of them."""

    def __init__(self, groups: NDArray[np.integer]) -> None:
        self._groups = groups
        self._totals: dict[str, Floats] = {}
        self._counts: dict[str, Floats] = {}

    def add(self, method: str, rows: NDArray[np.integer], scores: Floats) -> None:
        """Add a split's scores of the judged rows."""
        for sums, values in ((self._totals, scores), (self._counts, np.ones(len(rows)))):
            sums.setdefault(method, np.zeros(len(self._groups)))[rows] += values

    def difference(self, one: str, other: str) -> PairedDifference:
        """Return the difference of two methods, paired by prompt, resampled by groups of near-duplicates."""
        seen = self._counts[one] > 0
        first, second = (self._totals[name][seen] / self._counts[name][seen] for name in (one, other))
        return paired_bootstrap(first - second, self._groups[seen])

    def differences(self, pairs: Mapping[str, str]) -> dict[str, PairedDifference]:
        """Return the differences of these methods to those that they are compared with."""
        return {f"{one} - {other}": self.difference(one, other) for one, other in pairs.items()}
