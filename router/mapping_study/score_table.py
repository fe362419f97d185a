"""Score tables: the scores of every expert on prompts, from which mappings are learned, and the experts' costs.

Owns what a row means beyond its prompt and category: `scores: {expert: 0 … 1 or null}`. Holes (null, or an expert that
a row does not name) stay holes: a mean is over what was measured. Rows that cannot be used are counted; a score beyond
0 … 1 is an error, because leaving out what is too high would only bias the means. Knows nothing about routers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.labelled.bad_rows import BadRow, nothing_left
from router.labelled.fields import PROMPT_COLUMNS, category_in, prompt_in
from router.labelled.published import is_published, published_rows
from router.labelled.rows import read_rows
from router.mapping_study.intervals import wilson
from router.mapping_study.learned_mapping import ExpertPool

__all__ = ["Cost", "ExpectedScore", "ScoreTable", "costs_of", "read_scores"]

BILLIONS = re.compile(r"(?<![\dx.])(\d+(?:\.\d+)?)b\b", re.IGNORECASE)  # not the 7B of 8x7B
ACTIVE_BILLIONS = re.compile(r"-A(\d+(?:\.\d+)?)B\b")  # 30B-A3B
BYTES_PER_PARAMETER = 2  # bfloat16


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of an expert, in billions of parameters."""

    active_b: float
    total_b: float


@dataclass(frozen=True, slots=True)
class ExpectedScore:
    """An expert's mean score on a category, its 95 % interval (Wilson), and over how many prompts."""

    score: float
    low: float
    high: float
    num_prompts: int


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """`values` is (prompts, experts), NaN where nothing was measured; `bad_rows` are what its file has beside them."""

    prompts: tuple[str, ...]
    categories: tuple[str, ...]
    experts: tuple[str, ...]
    values: NDArray[np.float64]
    bad_rows: tuple[BadRow, ...] = ()

    def only(self, experts: Sequence[str]) -> ScoreTable:
        """Return the columns of these experts; raises ValueError for one that the table does not have."""
        for expert in experts:
            if expert not in self.experts:
                raise ValueError(f"expert '{expert}': the table has no scores of it; it has {', '.join(self.experts)}")
        columns = [self.experts.index(expert) for expert in experts]
        return ScoreTable(self.prompts, self.categories, tuple(experts), self.values[:, columns])

    def rows(self, rows: NDArray[np.integer]) -> ScoreTable:
        """Return some rows."""
        chosen = rows.tolist()
        return ScoreTable(
            tuple(self.prompts[row] for row in chosen),
            tuple(self.categories[row] for row in chosen),
            self.experts,
            self.values[rows],
        )

    def complete_rows(self) -> NDArray[np.intp]:
        """Return the rows on which every expert has a score."""
        return np.flatnonzero(~np.isnan(self.values).any(axis=1))

    def merged(self) -> ScoreTable:
        """Return the table with each prompt once, its scores the mean of what its rows measured."""
        _, first, member = np.unique(np.array(self.prompts), return_index=True, return_inverse=True)
        means = np.stack([nan_mean(self.values[member == number]) for number in range(len(first))])
        order = np.argsort(first)
        kept = self.rows(first[order])
        return ScoreTable(kept.prompts, kept.categories, kept.experts, means[order])

    def pool(self, labels: NDArray[np.str_], costs: Mapping[str, Cost]) -> ExpertPool:
        """Return mean scores by label; frequencies are those of the labels."""
        names, index = np.unique(labels, return_inverse=True)
        return ExpertPool(
            categories=tuple(names.tolist()),
            experts=self.experts,
            scores=np.stack([nan_mean(self.values[index == label]) for label in range(len(names))]),
            frequencies=np.bincount(index) / len(index),
            active_b=np.array([costs[expert].active_b for expert in self.experts]),
            sizes_bytes=np.array([BYTES_PER_PARAMETER * 1e9 * costs[expert].total_b for expert in self.experts]),
        )

    def expected_scores(self, labels: NDArray[np.str_]) -> dict[str, dict[str, ExpectedScore]]:
        """Return category -> expert -> expected score; a pair without a measured score is left out."""
        return {
            str(label): expected_row(self.experts, self.values[labels == label]) for label in np.unique(labels).tolist()
        }


def expected_row(experts: Sequence[str], values: NDArray[np.float64]) -> dict[str, ExpectedScore]:
    """Return the expected scores of one category from its (prompts, experts) values."""
    means, counts = nan_mean(values), (~np.isnan(values)).sum(axis=0)
    low, high = wilson(means, counts)
    return {
        expert: ExpectedScore(float(means[column]), float(low[column]), float(high[column]), int(counts[column]))
        for column, expert in enumerate(experts)
        if counts[column]
    }


def nan_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return column means over what was measured, NaN for a column without any."""
    counts = (~np.isnan(values)).sum(axis=0)
    return np.where(counts > 0, np.nansum(values, axis=0) / np.maximum(counts, 1), np.nan)


def read_scores(path: Path) -> ScoreTable:
    """Read a score table: a file of rows, or a folder or JSON file in a published layout.

    Raises:
        ValueError: no row with text, category and scores, or a score that is no number in 0 … 1, by its row.
    """
    rows = published_rows(path) if is_published(path) else read_rows(path, (*PROMPT_COLUMNS, ("scores",)))
    prompts, categories, scores, bad_rows = [], [], [], []
    for where, row in rows:
        try:
            scored = scores_in(row)
            prompt, category = prompt_in(scored), category_in(scored)
        except ValueError as error:
            bad_rows.append(BadRow(where, str(error)))
            continue
        prompts.append(prompt)
        categories.append(category)
        scores.append({expert: checked_score(value, expert, where) for expert, value in scored["scores"].items()})
    experts = tuple(sorted({expert for row in scores for expert in row}))
    if not scores:
        raise nothing_left(path, bad_rows)
    if not experts:
        raise ValueError(f"{path}: no scores in it; a row is {{prompt, category, scores: {{expert: 0 … 1 or null}}}}")
    values = [[row.get(expert, np.nan) for expert in experts] for row in scores]
    return ScoreTable(tuple(prompts), tuple(categories), experts, np.array(values, dtype=np.float64), tuple(bad_rows))


def scores_in(row: object) -> Mapping[str, Any]:
    """Return a row whose `scores` are an object, which a table holds as JSON; raises ValueError for any other."""
    if isinstance(row, ValueError):
        raise row
    if not isinstance(row, dict):
        raise ValueError(f"not an object ({type(row).__name__})")
    scores = row.get("scores")
    if isinstance(scores, str):
        try:
            scores = json.loads(scores)
        except (ValueError, RecursionError):
            scores = None
    if not isinstance(scores, dict):
        raise ValueError("no 'scores' object; a row has scores: {expert: 0 … 1 or null}")
    return row | {"scores": scores}


def checked_score(value: object, expert: str, where: str) -> float:
    """Return the score, NaN for null."""
    if value is None:
        return float("nan")
    if not isinstance(value, (int, float)) or not 0.0 <= value <= 1.0:
        raise ValueError(
            f"{where}: score {value!r} of '{expert}'; a score lies in 0 … 1, or is null where not measured"
        )
    return float(value)


def costs_of(experts: Sequence[str], path: Path | None = None) -> dict[str, Cost]:
    """Return the experts' costs: from a JSON file `{expert: {active_b, total_b}}`, else the numbers in their names.

    An expert with neither is left out: a budget needs its size.

    Raises:
        ValueError: an entry of the file that does not give both numbers.
    """
    given = object_in_file(path) if path else {}
    costs = {expert: checked_cost(given[expert], expert, path) for expert in experts if expert in given}
    for expert in experts:
        total, active = BILLIONS.search(expert), ACTIVE_BILLIONS.search(expert)
        if expert not in costs and total:
            costs[expert] = Cost(float((active or total).group(1)), float(total.group(1)))
    return costs


def object_in_file(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: not an object of {{expert: {{active_b, total_b}}}}")
    return found


def checked_cost(entry: object, expert: str, path: Path | None) -> Cost:
    """Return the cost of an entry."""
    if isinstance(entry, dict) and set(entry) == {"active_b", "total_b"}:
        active, total = entry["active_b"], entry["total_b"]
        if isinstance(active, (int, float)) and isinstance(total, (int, float)) and 0 < active <= total:
            return Cost(float(active), float(total))
    raise ValueError(
        f'{path}: cost of \'{expert}\' is {json.dumps(entry)}; write {{"active_b": 7, "total_b": 7}}, in billions, '
        f"active at most total"
    )
