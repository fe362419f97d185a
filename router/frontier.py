"""What a budget buys: mappings learned on one half of a score table and judged on the other, and the frontier.

Owns the half-split protocol with its baselines, and the commands `map` and `frontier`. A learned router chooses the
category: neighbours (15, cosine) over embeddings, fitted on the learning half only. Knows nothing about serving.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier

from router.mapping import Budget, LearnedMapping, Pool, frontier, learn_mapping
from router.score_table import Cost, ScoreTable, costs_of, read_scores

__all__ = ["Study", "add_arguments", "add_map_arguments", "half_splits", "run", "run_map"]

Floats = NDArray[np.floating]
NUM_NEIGHBOURS = 15
NUM_RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Method:
    """A way to choose an expert: mean score and mean active parameters over all splits."""

    score: float
    active_b: float


@dataclass(frozen=True, slots=True)
class Study:
    """Half-splits of a score table. Differences are learned router minus baseline, paired by prompt."""

    num_splits: int
    pool: tuple[str, ...]
    category_accuracy: float
    methods: Mapping[str, Method]
    against_single: Mapping[str, float]  # difference, p
    against_true_category: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Half:
    """One split: what is learned from, what is judged, and what the router says about both."""

    learn: NDArray[np.integer]
    judge: NDArray[np.integer]
    learn_labels: NDArray[np.str_]  # each prompt's category as its neighbours have it, itself left out
    judge_labels: NDArray[np.str_]
    judge_probabilities: Floats  # (prompts, categories)
    neighbours: NDArray[np.integer]  # (judged prompts, 15) rows of the learning half


def split_half(vectors: Floats, truth: NDArray[np.str_], seed: int) -> Half:
    """Return a seeded half-split with the router's view of it."""
    order = np.random.default_rng(seed).permutation(len(truth))
    learn, judge = order[: len(order) // 2], order[len(order) // 2 :]
    model = KNeighborsClassifier(NUM_NEIGHBOURS, weights="distance", metric="cosine", algorithm="brute")
    model.fit(vectors[learn], truth[learn])
    distances, itself_left_out = model.kneighbors()
    votes = np.zeros((len(learn), len(model.classes_)))
    for column in range(NUM_NEIGHBOURS):
        labels = model._y[itself_left_out[:, column]]
        votes[np.arange(len(learn)), labels] += 1.0 / np.maximum(distances[:, column], 1e-9)
    probabilities = model.predict_proba(vectors[judge])
    neighbours = learn[model.kneighbors(vectors[judge], return_distance=False)]
    return Half(
        learn,
        judge,
        model.classes_[votes.argmax(axis=1)],
        model.classes_[probabilities.argmax(axis=1)],
        probabilities,
        neighbours,
    )


def choices(
    table: ScoreTable, truth: NDArray[np.str_], half: Half, costs: Mapping[str, Cost], seed: int
) -> dict[str, NDArray[np.integer]]:
    """Return for each method the column of the expert that it chooses for each judged prompt."""
    learned = table.pool(half.learn_labels, half.learn, costs)
    true = table.pool(truth[half.learn], half.learn, costs)
    overall = np.nanmean(table.values[half.learn], axis=0)
    largest = max(range(len(table.experts)), key=lambda column: costs[table.experts[column]].total_b)
    num, values = len(half.judge), table.values
    expected = half.judge_probabilities @ np.nan_to_num(true.scores)
    return {
        "learned router": by_label(table, learn_mapping(learned), half.judge_labels),
        "learned router, probabilities over categories": expected.argmax(axis=1),
        "true category": by_label(table, learn_mapping(true), truth[half.judge]),
        "best single": np.full(num, int(overall.argmax())),
        "always largest": np.full(num, largest),
        "random": np.random.default_rng(seed).integers(len(table.experts), size=num),
        "neighbours straight to expert": np.nan_to_num(np.nanmean(values[half.neighbours], axis=1)).argmax(axis=1),
        "prompt oracle": np.nan_to_num(values[half.judge], nan=-1).argmax(axis=1),
    }


def by_label(table: ScoreTable, learned: LearnedMapping, labels: NDArray[np.str_]) -> NDArray[np.integer]:
    """Return columns of the experts that a mapping gives; a label it never saw goes to its most common expert."""
    experts = list(learned.mapping.values())
    fallback = max(experts, key=experts.count)
    return np.array([table.experts.index(learned.mapping.get(label, fallback)) for label in labels.tolist()])


def half_splits(table: ScoreTable, vectors: Floats, costs: Mapping[str, Cost], num_splits: int = 20) -> Study:
    """Return the study over seeded half-splits; rows with a hole in the pool are left out by the caller."""
    truth = np.array(table.categories)
    active = np.array([costs[expert].active_b for expert in table.experts])
    totals: dict[str, Floats] = {}
    judged = np.zeros(len(truth))
    scores: dict[str, list[float]] = {}
    actives: dict[str, list[float]] = {}
    right = []
    for seed in range(num_splits):
        half = split_half(vectors, truth, seed)
        judged[half.judge] += 1
        right.append(float((half.judge_labels == truth[half.judge]).mean()))
        for name, chosen in choices(table, truth, half, costs, seed).items():
            got = table.values[half.judge, chosen]
            totals.setdefault(name, np.zeros(len(truth)))[half.judge] += got
            scores.setdefault(name, []).append(float(got.mean()))
            actives.setdefault(name, []).append(float(active[chosen].mean()))
    seen = judged > 0
    mean = {name: total[seen] / judged[seen] for name, total in totals.items()}
    return Study(
        num_splits,
        table.experts,
        float(np.mean(right)),
        {name: Method(float(np.mean(scores[name])), float(np.mean(actives[name]))) for name in scores},
        paired(mean["learned router"] - mean["best single"]),
        paired(mean["learned router"] - mean["true category"]),
    )


def paired(differences: Floats, seed: int = 0) -> dict[str, float]:
    """Return the mean of per-prompt differences, its bootstrap 95 % interval, and the one-sided p of "not above 0"."""
    rng = np.random.default_rng(seed)
    num = len(differences)
    means = np.array([differences[rng.integers(num, size=num)].mean() for _ in range(NUM_RESAMPLES)])
    low, high = np.quantile(means, [0.025, 0.975])
    return {
        "difference": float(differences.mean()),
        "low": float(low),
        "high": float(high),
        "p": float((1 + (means <= 0).sum()) / (1 + NUM_RESAMPLES)),
    }


def share_needed(points: Sequence[LearnedMapping], best: float, share: float = 0.98) -> LearnedMapping:
    """Return the cheapest point that keeps a share of the best single model's score."""
    return next(point for point in points if point.score >= share * best)


def common_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scores", type=Path, help="JSONL of {prompt, category, scores: {expert: number or null}}")
    parser.add_argument("--costs", type=Path, help="JSON of {expert: {active_b, total_b}}; default: numbers in names")
    parser.add_argument("--max-model-b", type=float, help="only experts of at most so many billion parameters in all")
    parser.add_argument("--json", type=Path, help="write the figures here, too")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `coe router frontier`."""
    common_arguments(parser)
    parser.add_argument("--half-splits", type=int, default=0, help="judge by so many seeded half-splits (20)")
    parser.add_argument("--encoder", default="all-MiniLM-L6-v2")
    parser.add_argument("--device", default="cpu", help="where the encoder runs")
    parser.add_argument("--cache", type=Path, help="folder that keeps embeddings between runs")
    parser.add_argument("--plot", type=Path, help="write a PNG of the frontier here")


def add_map_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `coe router map`."""
    common_arguments(parser)
    parser.add_argument("--max-mean-active-b", type=float, help="budget on the mean of active parameters")
    parser.add_argument("--max-resident-bytes", type=float, help="budget on the bytes of all experts used")


def affordable(args: argparse.Namespace) -> tuple[ScoreTable, dict[str, Cost]]:
    """Return the table of experts whose cost is known and allowed, without rows that have a hole in it."""
    table = read_scores(args.scores)
    costs = costs_of(table.experts, args.costs)
    limit = args.max_model_b or float("inf")
    table = table.only([expert for expert in table.experts if expert in costs and costs[expert].total_b <= limit])
    if not table.experts:
        raise ValueError(f"{args.scores}: no expert of a known size up to {limit:g} billion; give --costs")
    whole = ~np.isnan(table.values).any(axis=1)
    rows = np.flatnonzero(whole).tolist()
    kept = ScoreTable(
        tuple(table.prompts[row] for row in rows),
        tuple(table.categories[row] for row in rows),
        table.experts,
        table.values[whole],
    )
    return kept, costs


def run_map(args: argparse.Namespace) -> int:
    """Run `coe router map`; returns the exit code."""
    table, costs = affordable(args)
    pool = table.pool(np.array(table.categories), np.arange(len(table.prompts)), costs)
    learned = learn_mapping(pool, Budget(args.max_mean_active_b, args.max_resident_bytes))
    for category, expert in learned.mapping.items():
        print(f"{category:24} {expert}")
    rows = zip(pool.categories, pool.scores.tolist(), strict=True)
    expected = {category: dict(zip(pool.experts, row, strict=True)) for category, row in rows}
    active_b = dict(zip(pool.experts, pool.active.tolist(), strict=True))
    return finish(asdict(learned) | {"expected_scores": expected, "active_b": active_b}, args.json)


def run(args: argparse.Namespace) -> int:
    """Run `coe router frontier`; returns the exit code."""
    table, costs = affordable(args)
    pool = table.pool(np.array(table.categories), np.arange(len(table.prompts)), costs)
    points = frontier(pool)
    best = float((pool.frequencies @ pool.scores).max())
    result: dict[str, Any] = {
        "points": [asdict(point) for point in points],
        "best_single": best,
        "keeps_98_percent": asdict(share_needed(points, best)),
    }
    for point in points:
        print(
            f"{point.mean_active:8.2f} B mean active  score {point.score:.4f}  {len(set(point.mapping.values()))} used"
        )
    if args.half_splits:
        from router.train import encoder_for, whole

        vectors = whole(encoder_for(args.encoder, args.device, args.cache).encode(table.prompts))
        study = half_splits(table, vectors, costs, args.half_splits)
        for name, method in study.methods.items():
            print(f"{name:46} {method.score:.4f}  {method.active_b:6.2f} B")
        result["half_splits"] = asdict(study)
    if args.plot:
        draw(pool, points, args.plot)
    return finish(result, args.json)


def finish(result: Mapping[str, Any], path: Path | None) -> int:
    """Print the figures as the last line, and write them."""
    text = json.dumps(result, ensure_ascii=False)
    if path:
        path.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


def draw(pool: Pool, points: Sequence[LearnedMapping], path: Path) -> None:
    """Draw quality against cost: every single model, the frontier, nothing else."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5))
    axes.scatter(pool.active, pool.frequencies @ pool.scores, label="single models", color="tab:grey")
    axes.plot([p.mean_active for p in points], [p.score for p in points], marker="o", label="category mapping")
    axes.set(xlabel="mean active parameters, billions", ylabel="mean score", xscale="log")
    axes.legend()
    figure.savefig(path, dpi=120, bbox_inches="tight")
    pyplot.close(figure)
