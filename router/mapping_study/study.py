"""A study of a score table: mappings learned on one half of the prompts and judged on the other.

Owns the methods that it compares, their figures and the curve of budgets. Pure: no files, no clock; the same seeds give
the same figures. Knows nothing about encoders or serving.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from router.mapping_study.expected_scores import ExpectedScores, fit_expected
from router.mapping_study.half_split import HalfSplit, StudyData, folds_of, neighbours
from router.mapping_study.intervals import PairedDifference, paired_bootstrap
from router.mapping_study.learned_mapping import Budget, LearnedMapping, learn_mapping
from router.mapping_study.one_standard_error import fewest_experts
from router.mapping_study.score_table import ScoreTable

__all__ = ["CurvePoint", "Method", "Study", "cheapest_share", "held_out_curve", "study_of"]

Floats = NDArray[np.floating]
Rows = NDArray[np.integer]
Show = Callable[[Iterable[Any]], Iterable[Any]]  # gives what it is given, and may draw how far that is
MARGIN = 0.003  # the score that the learned router may lose against the true category
LEARNED, WEIGHTED, TRUE, SINGLE = "learned category", "learned probabilities", "true category", "best single model"
FEWER = "learned category, fewer experts"  # within one standard error


class Outcome(NamedTuple):
    """A method on the judged prompts: its score on each and the active parameters of its expert, both (prompts,)."""

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
    """The figures over all splits. `differences` are paired by prompt; their p is of "not above the margin"."""

    num_splits: int
    num_prompts: int
    pool: tuple[str, ...]
    category_accuracy: float
    classifiers: Mapping[str, int]  # how many splits chose it
    methods: Mapping[str, Method]
    differences: Mapping[str, PairedDifference]


def outcomes(data: StudyData, split: HalfSplit, seed: int) -> dict[str, Outcome]:
    """Return the outcome of each method on the judged half."""
    table, truth, learn, judge = data.table, data.truth, split.learn, split.judge
    learned = learn_mapping(table.rows(learn).pool(split.learn_labels, data.costs))
    fewer = fewest_experts(table.rows(learn), split.learn_labels, data.costs)
    true = learn_mapping(table.rows(learn).pool(truth[learn], data.costs))
    oracle = learn_mapping(table.rows(judge).pool(truth[judge], data.costs))
    weighted = weighted_expected(data, split, seed)
    largest = max(range(len(table.experts)), key=lambda column: data.costs[table.experts[column]].total_b)
    cheap = 1e-9 * data.active_b  # of equals the cheapest
    chosen = {
        LEARNED: by_label(table, learned, split.judge_labels),
        FEWER: by_label(table, fewer, split.judge_labels),
        WEIGHTED: weighted.of(split.judge_probabilities).argmax(axis=1),
        TRUE: by_label(table, true, truth[judge]),
        SINGLE: np.full(len(judge), table.values[learn].mean(axis=0).argmax()),
        "always the largest": np.full(len(judge), largest),
        "neighbours straight to expert": (neighbour_scores(data, split) - cheap).argmax(axis=1),
        "category oracle": by_label(table, oracle, truth[judge]),
        "prompt oracle": (table.values[judge] - cheap).argmax(axis=1),
    }
    found = {name: outcome_of(data, split, columns) for name, columns in chosen.items()}
    every = table.values[judge].mean(axis=1)
    return found | {"random": Outcome(every, np.full(len(judge), data.active_b.mean()), len(table.experts))}


def outcome_of(data: StudyData, split: HalfSplit, columns: Rows) -> Outcome:
    """Return the outcome of choosing these experts for the judged prompts."""
    return Outcome(data.table.values[split.judge, columns], data.active_b[columns], len(np.unique(columns)))


def by_label(table: ScoreTable, learned: LearnedMapping, labels: NDArray[np.str_]) -> Rows:
    """Return the experts' columns that a mapping gives; a label it never saw goes to its most common expert."""
    experts = list(learned.mapping.values())
    fallback = max(experts, key=experts.count)
    return np.array([table.experts.index(learned.mapping.get(label, fallback)) for label in labels.tolist()])


def neighbour_scores(data: StudyData, split: HalfSplit) -> Floats:
    """Return (judged, experts): mean scores of the 15 nearest prompts of the learning half."""
    model = neighbours(len(split.learn)).fit(data.vectors[split.learn], data.truth[split.learn])
    nearest = model.kneighbors(data.vectors[split.judge], return_distance=False)
    scores: Floats = data.table.values[split.learn[nearest]].mean(axis=1)
    return scores


def weighted_expected(data: StudyData, split: HalfSplit, seed: int) -> ExpectedScores:
    """Return expected scores by category probabilities, their penalty chosen on the learning half."""
    return fit_expected(
        split.learn_probabilities, data.table.values[split.learn], folds_of(data.groups[split.learn], seed)
    )


def study_of(data: StudyData, splits: Sequence[HalfSplit], show: Show = iter) -> Study:
    """Return the study over these splits."""
    num_prompts = len(data.truth)
    judged = np.zeros(num_prompts)
    totals: dict[str, Floats] = {}
    found: dict[str, list[Outcome]] = {}
    for seed, split in enumerate(show(splits)):
        judged[split.judge] += 1
        for name, outcome in outcomes(data, split, seed).items():
            totals.setdefault(name, np.zeros(num_prompts))[split.judge] += outcome.scores
            found.setdefault(name, []).append(outcome)
    seen = judged > 0
    chosen = [split.classifier for split in splits]
    return Study(
        len(splits),
        num_prompts,
        data.table.experts,
        float(np.mean([(split.judge_labels == data.truth[split.judge]).mean() for split in splits])),
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
    """Return the differences that the study tests, paired by prompt."""
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
    """A budget, and the means over splits of score and cost on the halves that were not learned from."""

    max_mean_active_b: float
    score: float
    deviation: float
    mean_active_b: float
    num_experts: float


def held_out_curve(
    data: StudyData, splits: Sequence[HalfSplit], num_points: int = 24, show: Show = iter
) -> list[CurvePoint]:
    """Return, for rising budgets, the score of mappings learned under them, by the learned router on judged halves."""
    budgets = np.geomspace(data.active_b.min(), data.active_b.max(), num_points)
    pools = [data.table.rows(split.learn).pool(split.learn_labels, data.costs) for split in splits]
    points = []
    for budget in show(budgets.tolist()):
        found = []
        for split, pool in zip(splits, pools, strict=True):
            learned = learn_mapping(pool, Budget(max_mean_active_b=budget * (1 + 1e-9)))
            found.append(outcome_of(data, split, by_label(data.table, learned, split.judge_labels)))
        method = summary(found)
        points.append(CurvePoint(budget, method.score, method.deviation, method.mean_active_b, method.num_experts))
    return points


def cheapest_share(curve: Sequence[CurvePoint], score: float) -> CurvePoint | None:
    """Return the cheapest point of a curve with at least this score; None where no budget reaches it."""
    return next((point for point in curve if point.score >= score), None)
