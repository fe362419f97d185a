"""Half-splits of a score table: mappings learned on one half of the prompts and judged on the other.

Owns the methods that are compared, their figures and the curve of budgets. Pure: no files, no clock; the same seeds
give the same figures. Knows nothing about encoders or serving.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from router.mapping_study.expected_scores import ExpectedScores, fit_expected
from router.mapping_study.half_split import Data, View, folds_of, neighbours
from router.mapping_study.intervals import PairedDifference, paired_bootstrap
from router.mapping_study.learned_mapping import Budget, LearnedMapping, learn_mapping
from router.mapping_study.one_standard_error import fewest_experts
from router.mapping_study.score_table import ScoreTable

__all__ = ["CurvePoint", "Method", "Study", "cheapest_share", "half_splits", "held_out_curve"]

Floats = NDArray[np.floating]
Rows = NDArray[np.integer]
MARGIN = 0.003  # how far below the true-category mapping the learned router may be
LEARNED, WEIGHTED, TRUE, SINGLE = "learned category", "learned probabilities", "true category", "best single model"
FEWER = "learned category, fewer experts"  # within one standard error


class Outcome(NamedTuple):
    """What a method gets on each judged prompt, and what that costs; both (prompts,)."""

    scores: Floats
    active_b: Floats
    num_experts: int


@dataclass(frozen=True, slots=True)
class Method:
    """A way to choose an expert: means over all splits, and the standard deviation of the score between splits."""

    score: float
    deviation: float
    mean_active_b: float
    num_experts: float


@dataclass(frozen=True, slots=True)
class Study:
    """Half-splits of a score table. `differences` are paired by prompt; their p is of "not above the margin"."""

    num_splits: int
    num_prompts: int
    pool: tuple[str, ...]
    category_accuracy: float
    classifiers: Mapping[str, int]  # how many splits chose it
    methods: Mapping[str, Method]
    differences: Mapping[str, PairedDifference]


def outcomes(data: Data, view: View, seed: int) -> dict[str, Outcome]:
    """Return what each method gets on the judged half."""
    table, truth, learn, judge = data.table, data.truth, view.learn, view.judge
    learned = learn_mapping(table.rows(learn).pool(view.learn_labels, data.costs))
    fewer = fewest_experts(table.rows(learn), view.learn_labels, data.costs)
    true = learn_mapping(table.rows(learn).pool(truth[learn], data.costs))
    oracle = learn_mapping(table.rows(judge).pool(truth[judge], data.costs))
    weighted = weighted_expected(data, view, seed)
    largest = max(range(len(table.experts)), key=lambda column: data.costs[table.experts[column]].total_b)
    cheap = 1e-9 * data.active_b  # of equals the cheapest
    chosen = {
        LEARNED: by_label(table, learned, view.judge_labels),
        FEWER: by_label(table, fewer, view.judge_labels),
        WEIGHTED: weighted.of(view.judge_probabilities).argmax(axis=1),
        TRUE: by_label(table, true, truth[judge]),
        SINGLE: np.full(len(judge), table.values[learn].mean(axis=0).argmax()),
        "always the largest": np.full(len(judge), largest),
        "neighbours straight to expert": (neighbour_scores(data, view) - cheap).argmax(axis=1),
        "category oracle": by_label(table, oracle, truth[judge]),
        "prompt oracle": (table.values[judge] - cheap).argmax(axis=1),
    }
    found = {name: outcome_of(data, view, columns) for name, columns in chosen.items()}
    every = table.values[judge].mean(axis=1)
    return found | {"random": Outcome(every, np.full(len(judge), data.active_b.mean()), len(table.experts))}


def outcome_of(data: Data, view: View, columns: Rows) -> Outcome:
    """Return the outcome of choosing these experts for the judged prompts."""
    return Outcome(data.table.values[view.judge, columns], data.active_b[columns], len(np.unique(columns)))


def by_label(table: ScoreTable, learned: LearnedMapping, labels: NDArray[np.str_]) -> Rows:
    """Return the experts' columns that a mapping gives; a label it never saw goes to its most common expert."""
    experts = list(learned.mapping.values())
    fallback = max(experts, key=experts.count)
    return np.array([table.experts.index(learned.mapping.get(label, fallback)) for label in labels.tolist()])


def neighbour_scores(data: Data, view: View) -> Floats:
    """Return (judged, experts): mean scores of the 15 nearest prompts of the learning half."""
    model = neighbours(len(view.learn)).fit(data.vectors[view.learn], data.truth[view.learn])
    nearest = model.kneighbors(data.vectors[view.judge], return_distance=False)
    scores: Floats = data.table.values[view.learn[nearest]].mean(axis=1)
    return scores


def weighted_expected(data: Data, view: View, seed: int) -> ExpectedScores:
    """Return expected scores by category probabilities, their penalty chosen on the learning half."""
    return fit_expected(
        view.learn_probabilities, data.table.values[view.learn], folds_of(data.groups[view.learn], seed)
    )


def half_splits(data: Data, views: Sequence[View]) -> Study:
    """Return the study over splits."""
    num_prompts = len(data.truth)
    judged = np.zeros(num_prompts)
    totals: dict[str, Floats] = {}
    found: dict[str, list[Outcome]] = {}
    for seed, view in enumerate(views):
        judged[view.judge] += 1
        for name, outcome in outcomes(data, view, seed).items():
            totals.setdefault(name, np.zeros(num_prompts))[view.judge] += outcome.scores
            found.setdefault(name, []).append(outcome)
    seen = judged > 0
    chosen = [view.classifier for view in views]
    return Study(
        len(views),
        num_prompts,
        data.table.experts,
        float(np.mean([(view.judge_labels == data.truth[view.judge]).mean() for view in views])),
        {name: chosen.count(name) for name in sorted(set(chosen))},
        {name: summary(per_split) for name, per_split in found.items()},
        differences({name: total[seen] / judged[seen] for name, total in totals.items()}, data.groups[seen]),
    )


def summary(per_split: Sequence[Outcome]) -> Method:
    """Return the means over splits."""
    scores = [outcome.scores.mean() for outcome in per_split]
    return Method(
        float(np.mean(scores)),
        float(np.std(scores)),
        float(np.mean([outcome.active_b.mean() for outcome in per_split])),
        float(np.mean([outcome.num_experts for outcome in per_split])),
    )


def differences(means: Mapping[str, Floats], groups: Rows) -> dict[str, PairedDifference]:
    """Return the differences that the study is about, paired by prompt."""
    asked = [
        (LEARNED, TRUE, -MARGIN),
        (LEARNED, SINGLE, 0.0),
        (FEWER, LEARNED, -MARGIN),
        (WEIGHTED, TRUE, -MARGIN),
        (WEIGHTED, TRUE, 0.0),
        (WEIGHTED, SINGLE, 0.0),
        (WEIGHTED, LEARNED, 0.0),
    ]
    return {
        f"{one} - {other} > {margin:g}": paired_bootstrap(means[one] - means[other], groups, margin=margin)
        for one, other, margin in asked
    }


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What a budget buys on halves that the mapping was not learned from, means over splits."""

    max_mean_active_b: float
    score: float
    deviation: float
    mean_active_b: float
    num_experts: float


def held_out_curve(data: Data, views: Sequence[View], num_points: int = 24) -> list[CurvePoint]:
    """Return for rising budgets what mappings learned under them get from the learned router on the judged halves."""
    budgets = np.geomspace(data.active_b.min(), data.active_b.max(), num_points)
    pools = [data.table.rows(view.learn).pool(view.learn_labels, data.costs) for view in views]
    points = []
    for budget in budgets.tolist():
        found = []
        for view, pool in zip(views, pools, strict=True):
            learned = learn_mapping(pool, Budget(max_mean_active_b=budget * (1 + 1e-9)))
            found.append(outcome_of(data, view, by_label(data.table, learned, view.judge_labels)))
        method = summary(found)
        points.append(CurvePoint(budget, method.score, method.deviation, method.mean_active_b, method.num_experts))
    return points


def cheapest_share(curve: Sequence[CurvePoint], score: float) -> CurvePoint | None:
    """Return the cheapest point of a curve with at least this score; None where no budget reaches it."""
    return next((point for point in curve if point.score >= score), None)
