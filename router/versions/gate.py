"""The gate: whether a candidate may take the place of the served router, by what both say of the same held-out rows.

Owns the rule, its thresholds and the figures for people. Pure. Knows nothing about how rows are held out or what a
version is. Covered: a loss of accuracy, in all or in one category. Not covered: prompts unlike the held-out rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from router.mapping_study.intervals import PairedDifference, paired_bootstrap

__all__ = ["CATEGORY_LOSS", "MARGIN", "MIN_DISTINCT", "Answers", "GateReport", "gate"]

MARGIN = 0.01  # of accuracy that may be lost, at the lower end of the difference's interval
MIN_DISTINCT = 30  # held-out rows, near-duplicates counted once: fewer decide nothing
MIN_CATEGORY_ROWS = 10
CATEGORY_LOSS = 0.05  # of a category's accuracy that may be lost, at the upper end of its interval


class Answers(NamedTuple):
    """What a router says of n prompts: the likeliest category, and whether it is sure, each (n,)."""

    categories: NDArray[np.str_]
    is_sure: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Figures:
    """Accuracy of both on some rows, and the paired difference with its 95 % interval."""

    name: str
    num_rows: int
    old_accuracy: float
    new_accuracy: float
    difference: PairedDifference

    @property
    def interval(self) -> str:
        return f"{self.difference.difference:+.4f} [{self.difference.low:+.4f}, {self.difference.high:+.4f}]"


@dataclass(frozen=True, slots=True)
class GateReport:
    """The figures of a comparison, and the verdict. `refusals` say why the candidate does not pass; empty: it does.

    `overall` is None where no row could be held out. `is_forced` says that too few rows were no obstacle.
    """

    num_distinct: int
    overall: Figures | None
    categories: tuple[Figures, ...]
    old_abstains: float
    new_abstains: float
    margin: float
    refusals: tuple[str, ...]
    is_forced: bool = False
    notes: tuple[str, ...] = ()

    @property
    def passes(self) -> bool:
        return not self.refusals

    def __str__(self) -> str:
        lines = list(self.notes)
        if self.overall is not None:
            lines.append(f"  {'held out':20} {'rows':>6} {'old':>6} {'new':>6}  difference, 95 % interval")
            lines += [
                f"  {each.name:20} {each.num_rows:6} {each.old_accuracy:6.3f} {each.new_accuracy:6.3f}  {each.interval}"
                for each in (self.overall, *self.categories)
            ]
            lines.append(f"abstains: old {self.old_abstains:.1%}, new {self.new_abstains:.1%}")
        if self.is_forced:
            lines.append(f"gate: forced with {self.num_distinct} distinct held-out rows, fewer than {MIN_DISTINCT}")
        lines += [f"gate: not passed: {refusal}" for refusal in self.refusals] or ["gate: passed"]
        return "\n".join(lines)


def gate(
    truth: NDArray[np.str_],
    groups: NDArray[np.str_],
    old: Answers,
    new: Answers,
    *,
    margin: float = MARGIN,
    force: bool = False,
    notes: Sequence[str] = (),
) -> GateReport:
    """Return the verdict on n rows of these categories and near-duplicate groups, each (n,).

    With `force` fewer rows than decide anything pass, whatever they say; enough rows are judged as ever.
    """
    num_distinct = len(np.unique(groups))
    if not len(truth):
        return GateReport(0, None, (), 0.0, 0.0, margin, () if force else (too_few(0),), force, tuple(notes))
    old_right, new_right = old.categories == truth, new.categories == truth
    overall = figures("all", old_right, new_right, groups)
    by_category = tuple(
        figures(str(category), old_right[rows], new_right[rows], groups[rows])
        for category in np.unique(truth)
        for rows in (truth == category,)
    )
    is_few = num_distinct < MIN_DISTINCT
    refusals = () if is_few and force else refusals_of(overall, by_category, margin, num_distinct)
    return GateReport(
        num_distinct,
        overall,
        by_category,
        float((~old.is_sure).mean()),
        float((~new.is_sure).mean()),
        margin,
        refusals,
        is_few and force,
        tuple(notes),
    )


def figures(name: str, old_right: NDArray[np.bool_], new_right: NDArray[np.bool_], groups: NDArray[np.str_]) -> Figures:
    """Return the figures of rows on which each is right or not, (n,) each; rows of a group count as drawn together."""
    numbers = np.unique(groups, return_inverse=True)[1]
    difference = paired_bootstrap(new_right.astype(float) - old_right.astype(float), numbers)
    return Figures(name, len(groups), float(old_right.mean()), float(new_right.mean()), difference)


def refusals_of(overall: Figures, categories: Sequence[Figures], margin: float, num_distinct: int) -> tuple[str, ...]:
    """Return why a candidate with these figures does not pass."""
    found = []
    if num_distinct < MIN_DISTINCT:
        found.append(too_few(num_distinct))
    if overall.difference.low <= -margin:
        found.append(f"accuracy may fall by more than {margin:g}: {overall.interval}")
    for each in categories:
        if each.num_rows >= MIN_CATEGORY_ROWS and each.difference.high < -CATEGORY_LOSS:
            found.append(f"category '{each.name}' loses more than {CATEGORY_LOSS:g}: {each.interval}")
    return tuple(found)


def too_few(num_distinct: int) -> str:
    return (
        f"{num_distinct} distinct held-out rows, and fewer than {MIN_DISTINCT} decide nothing; add rows that the "
        "served version was not trained on, or name the rows that it was trained on, or --force"
    )
