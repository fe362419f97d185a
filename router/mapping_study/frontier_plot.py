"""The picture of a frontier: score against mean active parameters.

Paints on a figure that is handed in; every number comes from the caller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from router.mapping_study.learned_mapping import ExpertPool, LearnedMapping

__all__ = ["paint"]

ORACLES = {"category oracle": "^", "prompt oracle": "*", "true category": "s", "learned probabilities": "D"}


def paint(pool: ExpertPool, points: Sequence[LearnedMapping], result: Mapping[str, Any], figure: Any) -> None:
    """Paint every single model and the frontier; with a study, also its held-out scores and oracles."""
    figure.set_size_inches(9, 6)
    axes = figure.subplots()
    singles = pool.frequencies @ pool.scores
    axes.scatter(pool.active_b, singles, color="tab:grey", s=18, label="single models")
    for expert, active, score in zip(pool.experts, pool.active_b, singles, strict=True):
        axes.annotate(expert, (active, score), fontsize=5, xytext=(2, 2), textcoords="offset points")
    curve = result.get("curve")
    if curve:
        held_out = ([p["mean_active_b"] for p in curve], [p["score"] for p in curve], [p["deviation"] for p in curve])
        axes.errorbar(*held_out, marker="o", ms=4, label="learned category, held out")
    in_sample = ([p.mean_active_b for p in points], [p.score for p in points])
    axes.plot(*in_sample, ":", color="tab:blue", label="true category, on the rows learned from")
    for name, marker in ORACLES.items() if "study" in result else ():
        method = result["study"]["methods"][name]
        axes.scatter(method["mean_active_b"], method["score"], marker=marker, s=70, label=f"{name}, no budget")
    axes.set(xlabel="mean active parameters, billions", ylabel="mean score", xscale="log")
    axes.legend(fontsize=7)
