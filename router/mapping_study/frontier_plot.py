"""The picture of a frontier: score against mean active parameters.

Owns the drawing; every number comes from the caller. Needs matplotlib.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from router.mapping_study.learned_mapping import ExpertPool, LearnedMapping

__all__ = ["draw"]

ORACLES = {"category oracle": "^", "prompt oracle": "*", "true category": "s", "learned probabilities": "D"}


def draw(pool: ExpertPool, points: Sequence[LearnedMapping], result: Mapping[str, Any], path: Path) -> None:
    """Draw every single model and the frontier; with a study, also its held-out scores and oracles.

    Raises:
        ValueError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ValueError(f"{path}: drawing needs matplotlib; run `pip install matplotlib`") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 6))
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
    figure.savefig(path, dpi=120, bbox_inches="tight")
    pyplot.close(figure)
