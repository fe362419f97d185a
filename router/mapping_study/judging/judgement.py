"""A judgement: the score of a mapping on a table that it was not learned from, beside fixed models and oracles.

Owns the methods that are compared and their paired differences. Pure: no files, no clock; the same table gives the same
figures. Knows nothing about encoders or how prompts got their categories.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from router.mapping_study.half_split import neighbours
from router.mapping_study.intervals import PairedDifference, paired_bootstrap, wilson
from router.mapping_study.score_table import Cost, ScoreTable

__all__ = [
    "ABSTAINS",
    "CategoryJudged",
    "JudgedTable",
    "Judgement",
    "Method",
    "best_in",
    "columns_by_neighbours",
    "judge",
]

Floats = NDArray[np.floating]
Rows = NDArray[np.integer]
ABSTAINS = ""  # the label of prompts that the router is not sure of
MAPPING, SINGLE, LEARNED_SINGLE = (
    "mapping",
    "best single model, in hindsight",
    "best single model of the learning table",
)
STRAIGHT, RANDOM = "neighbours straight to expert", "random"
CATEGORY_ORACLE, PROMPT_ORACLE = "category oracle", "prompt oracle"
TIE = 1e-9  # per billion active parameters: of equals the cheapest


class JudgedTable(NamedTuple):
    """A score table without holes; the router's label of each prompt and its near-duplicate group, both (prompts,)."""

    table: ScoreTable
    labels: NDArray[np.str_]
    groups: Rows
    costs: Mapping[str, Cost]

    @property
    def active_b(self) -> Floats:
        """(experts,) billions of active parameters, NaN where they are not known."""
        known = [self.costs[expert].active_b if expert in self.costs else np.nan for expert in self.table.experts]
        return np.array(known)

    @property
    def penalties(self) -> Floats:
        """(experts,) what makes the cheapest of equals the best; an expert of unknown size counts as the largest."""
        largest = max((cost.active_b for cost in self.costs.values()), default=0.0)
        found: Floats = TIE * np.nan_to_num(self.active_b, nan=largest)
        return found


@dataclass(frozen=True, slots=True)
class Method:
    """A way to choose an expert: its mean score, and what it costs where the sizes of all its experts are known."""

    score: float
    mean_active_b: float | None
    num_experts: int
    expert: str | None = None  # where it is always the same


@dataclass(frozen=True, slots=True)
class CategoryJudged:
    """One label's prompts: the expert that the mapping gives them, and the best one in hindsight."""

    num_prompts: int
    expert: str
    score: float
    low: float
    high: float
    best_expert: str
    best_score: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """`differences` are the mapping less each other method, paired by prompt; their p is of "not above 0"."""

    num_prompts: int
    methods: Mapping[str, Method]
    differences: Mapping[str, PairedDifference]
    categories: Mapping[str, CategoryJudged]


def judge(
    data: JudgedTable, columns: Rows, *, straight: Rows | None = None, learned_single: int | None = None
) -> Judgement:
    """Return the judgement of choosing expert `columns[i]` for prompt i.

    `straight` are the choices of neighbours in a learning table, `learned_single` is that table's best expert.
    """
    values, num_prompts = data.table.values, len(columns)
    single = int((values.mean(axis=0) - data.penalties).argmax())
    chosen = {MAPPING: columns, SINGLE: np.full(num_prompts, single)}
    if learned_single is not None:
        chosen[LEARNED_SINGLE] = np.full(num_prompts, learned_single)
    if straight is not None:
        chosen[STRAIGHT] = straight
    chosen[CATEGORY_ORACLE] = best_by_label(data)
    chosen[PROMPT_ORACLE] = (values - data.penalties).argmax(axis=1)
    scores = {name: values[np.arange(num_prompts), picked] for name, picked in chosen.items()}
    scores[RANDOM] = values.mean(axis=1)
    methods = {name: method_of(data, scores[name], picked) for name, picked in chosen.items()}
    every = data.active_b.mean()
    methods[RANDOM] = Method(float(scores[RANDOM].mean()), none_if_nan(every), len(data.table.experts))
    return Judgement(
        num_prompts,
        methods,
        {
            f"{MAPPING} - {name}": paired_bootstrap(scores[MAPPING] - other, data.groups)
            for name, other in scores.items()
            if name != MAPPING
        },
        by_label(data, columns),
    )


def method_of(data: JudgedTable, scores: Floats, columns: Rows) -> Method:
    used = np.unique(columns).tolist()
    active = none_if_nan(data.active_b[columns].mean())
    return Method(float(scores.mean()), active, len(used), data.table.experts[used[0]] if len(used) == 1 else None)


def none_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def best_by_label(data: JudgedTable) -> Rows:
    """Return for each prompt the expert with the best mean on its label's prompts."""
    names, index = np.unique(data.labels, return_inverse=True)
    best = [
        int((data.table.values[index == label].mean(axis=0) - data.penalties).argmax()) for label in range(len(names))
    ]
    chosen: Rows = np.array(best)[index]
    return chosen


def by_label(data: JudgedTable, columns: Rows) -> dict[str, CategoryJudged]:
    """Return each label's figures; all prompts of a label have the same expert."""
    best = best_by_label(data)
    found = {}
    for label in np.unique(data.labels).tolist():
        rows = np.flatnonzero(data.labels == label)
        means = data.table.values[rows].mean(axis=0)
        own, top = int(columns[rows[0]]), int(best[rows[0]])
        low, high = wilson(means[[own]], np.array([len(rows)]))
        found[label or "abstains"] = CategoryJudged(
            len(rows),
            data.table.experts[own],
            float(means[own]),
            float(low[0]),
            float(high[0]),
            data.table.experts[top],
            float(means[top]),
        )
    return found


def columns_by_neighbours(data: JudgedTable, vectors: Floats, learn: ScoreTable, learn_vectors: Floats) -> Rows:
    """Return for each prompt the expert with the best mean over its 15 nearest prompts of a learning table.

    `vectors` are (prompts, dims) and (rows of `learn`, dims). An expert that the neighbours were not measured on is not
    chosen; `learn` has the judged table's experts or some of them.

    Raises:
        ValueError: the tables have no expert in common.
    """
    shared = [expert for expert in data.table.experts if expert in learn.experts]
    if not shared:
        raise ValueError(f"--learn: its experts are {', '.join(learn.experts)}; the judged table has none of them")
    model = neighbours(len(learn.prompts)).fit(learn_vectors, np.array(learn.categories))
    nearest = model.kneighbors(vectors, return_distance=False)
    values = learn.only(shared).values[nearest]  # (prompts, neighbours, experts)
    counts = (~np.isnan(values)).sum(axis=1)
    means = np.where(counts > 0, np.nansum(values, axis=1) / np.maximum(counts, 1), -np.inf)
    columns = np.array([data.table.experts.index(expert) for expert in shared])
    chosen: Rows = columns[(means - data.penalties[columns]).argmax(axis=1)]
    return chosen


def best_in(learn: ScoreTable, experts: Sequence[str]) -> int | None:
    """Return the column of the judged table's expert that is best on a learning table, None without one in common."""
    shared = [expert for expert in experts if expert in learn.experts]
    values = learn.only(shared).values
    counts = (~np.isnan(values)).sum(axis=0)
    means = np.where(counts > 0, np.nansum(values, axis=0) / np.maximum(counts, 1), -np.inf)
    return list(experts).index(shared[int(means.argmax())]) if shared else None
