"""Score tables: the scores of every expert on prompts, from which mappings are learned, and the experts' costs.

Owns what a row means: `{prompt, category, scores: {expert: 0 … 1 or null}}`; `options` or `choices`, if it has any, are
part of the prompt. Holes (null, or an expert that a row does not name) stay holes: a mean is over what was measured.
Knows nothing about routers.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.labelled.rows import read_rows
from router.mapping_study.intervals import wilson
from router.mapping_study.learned_mapping import ExpertPool

__all__ = ["Cost", "ExpectedScore", "ScoreTable", "costs_of", "read_scores"]

BILLIONS = re.compile(r"(?<![\dx.])(\d+(?:\.\d+)?)b\b", re.IGNORECASE)  # not the 7B of 8x7B
ACTIVE_BILLIONS = re.compile(r"-A(\d+(?:\.\d+)?)B\b")  # 30B-A3B
TEXT_KEYS = ("prompt", "question", "query")
CATEGORY_KEYS = ("category", "task")
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
    """`values` is (prompts, experts), NaN where nothing was measured."""

    prompts: tuple[str, ...]
    categories: tuple[str, ...]
    experts: tuple[str, ...]
    values: NDArray[np.float64]

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
    """Read a score table.

    Raises:
        ValueError: a row without text, category or scores, or with a score that is no number in 0 … 1, by its number.
    """
    prompts, categories, scores = [], [], []
    for where, row in read_rows(path, (TEXT_KEYS, CATEGORY_KEYS, ("scores",))):
        if isinstance(row, ValueError):
            raise ValueError(f"{where}: {row}") from row
        if not isinstance(row, dict) or not isinstance(row.get("scores"), dict):
            raise ValueError(f"{where}: no 'scores' object there; a row is {{prompt, category, scores}}")
        prompts.append(text_of(row, where))
        categories.append(first_of(row, CATEGORY_KEYS, where))
        scores.append({expert: checked_score(value, expert, where) for expert, value in row["scores"].items()})
    experts = tuple(sorted({expert for row in scores for expert in row}))
    if not experts:
        raise ValueError(f"{path}: no scores in it; a row is {{prompt, category, scores: {{expert: 0 … 1 or null}}}}")
    values = [[row.get(expert, np.nan) for expert in experts] for row in scores]
    return ScoreTable(tuple(prompts), tuple(categories), experts, np.array(values, dtype=np.float64))


def first_of(row: Mapping[str, Any], keys: Sequence[str], where: str) -> str:
    """Return the first of these fields that holds text."""
    for key in keys:
        if isinstance(row.get(key), str) and row[key].strip():
            return str(row[key])
    raise ValueError(f"{where}: no text in {' or '.join(keys)}")


def text_of(row: Mapping[str, Any], where: str) -> str:
    """Return the question as an expert saw it: the prompt, its options on lines of their own."""
    return "\n".join([first_of(row, TEXT_KEYS, where), *options_of(row)])


def options_of(row: Mapping[str, Any]) -> list[str]:
    """Return the answers to choose from: a list, a `{"text": [...]}`, or either as Python writes it; else a text."""
    options = row.get("options") or row.get("choices") or []
    if isinstance(options, str):
        try:
            options = ast.literal_eval(options)  # LLMRouter's files
        except (ValueError, SyntaxError):
            options = [options]
    if isinstance(options, dict):
        options = options.get("text", [])
    return [str(option) for option in options] if isinstance(options, list) else [str(options)]


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
    given = json.loads(path.read_text(encoding="utf-8")) if path else {}
    costs = {expert: checked_cost(given[expert], expert, path) for expert in experts if expert in given}
    for expert in experts:
        total, active = BILLIONS.search(expert), ACTIVE_BILLIONS.search(expert)
        if expert not in costs and total:
            costs[expert] = Cost(float((active or total).group(1)), float(total.group(1)))
    return costs


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
