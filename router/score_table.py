"""Per-expert scores on prompts: what mappings are learned from.

Owns the file format, `{prompt, category, scores: {expert: number or null}}` by line, and what experts cost. Knows
nothing about routers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from router.mapping import Pool
from router.prompts import read_rows

__all__ = ["Cost", "ScoreTable", "costs_of", "read_scores"]

BILLIONS = re.compile(r"(\d+(?:\.\d+)?)b\b", re.IGNORECASE)
TEXT_KEYS = ("prompt", "question", "query")
CATEGORY_KEYS = ("category", "task")


@dataclass(frozen=True, slots=True)
class Cost:
    """What an expert costs, in billions of parameters."""

    active_b: float
    total_b: float


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """`values` is (prompts, experts), NaN where nobody measured."""

    prompts: tuple[str, ...]
    categories: tuple[str, ...]
    experts: tuple[str, ...]
    values: NDArray[np.float64]

    def only(self, experts: Sequence[str]) -> ScoreTable:
        """Return the columns of these experts."""
        columns = [self.experts.index(expert) for expert in experts]
        return ScoreTable(self.prompts, self.categories, tuple(experts), self.values[:, columns])

    def pool(self, labels: NDArray[np.str_], rows: NDArray[np.integer], costs: Mapping[str, Cost]) -> Pool:
        """Return mean scores by label over some rows; frequencies are those of the labels."""
        names, index = np.unique(labels, return_inverse=True)
        means = np.stack([nan_mean(self.values[rows[index == label]]) for label in range(len(names))])
        return Pool(
            categories=tuple(names.tolist()),
            experts=self.experts,
            scores=means,
            frequencies=np.bincount(index) / len(index),
            active=np.array([costs[expert].active_b for expert in self.experts]),
            sizes_bytes=np.array([2e9 * costs[expert].total_b for expert in self.experts]),  # bfloat16
        )


def nan_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return column means over what was measured, NaN for a column without any."""
    counts = (~np.isnan(values)).sum(axis=0)
    return np.where(counts > 0, np.nansum(values, axis=0) / np.maximum(counts, 1), np.nan)


def read_scores(path: Path) -> ScoreTable:
    """Read a score table.

    Raises:
        ValueError: a row without text or scores, by its number.
    """
    prompts, categories, scores = [], [], []
    for number, row in enumerate(read_rows(path), start=1):
        if not isinstance(row, dict) or not isinstance(row.get("scores"), dict):
            raise ValueError(f"{path}:{number}: no 'scores' object there; a row is {{prompt, category, scores}}")
        text = next((row[key] for key in TEXT_KEYS if row.get(key)), None)
        if text is None:
            raise ValueError(f"{path}:{number}: no text in {', '.join(TEXT_KEYS)}")
        prompts.append(str(text))
        categories.append(str(next((row[key] for key in CATEGORY_KEYS if row.get(key)), "")))
        scores.append(row["scores"])
    experts = tuple(sorted({expert for row in scores for expert in row}))
    values = [[np.nan if row.get(e) is None else float(row[e]) for e in experts] for row in scores]
    return ScoreTable(tuple(prompts), tuple(categories), experts, np.array(values, dtype=np.float64))


def costs_of(experts: Sequence[str], path: Path | None = None) -> dict[str, Cost]:
    """Return what experts cost: from a JSON file `{expert: {active_b, total_b}}`, else the number in their names.

    An expert with neither is left out: without a size it cannot be budgeted.
    """
    given = json.loads(path.read_text(encoding="utf-8")) if path else {}
    costs = {expert: Cost(**given[expert]) for expert in experts if expert in given}
    for expert in experts:
        match = BILLIONS.search(expert)
        if expert not in costs and match:
            costs[expert] = Cost(float(match.group(1)), float(match.group(1)))
    return costs
