"""The section of `coe bench route` about quality: what `coe router evaluate` measures.

Owns its arguments and how figures become rows. Knows nothing about where results are written.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.evaluation.evaluate_command import evaluation_of
from router.evaluation.measures import Evaluation
from router.model.artefact import load_artefact

__all__ = ["QualityReport", "add_arguments", "measure"]


@dataclass(frozen=True, slots=True)
class QualityReport:
    """An evaluation as a table, as JSON and as a reliability diagram."""

    evaluation: Evaluation
    name: str = "quality"
    headers: tuple[str, ...] = ("prompts", "figure", "value")

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """One row per figure; those of single topics and families are in the JSON."""
        return [
            (section, name, str(round(value, 4)))
            for section, figures in self.evaluation.figures.items()
            if isinstance(figures, Mapping)  # confusions are a list
            for name, value in figures.items()
            if isinstance(value, int | float)
        ]

    @property
    def figures(self) -> Sequence[Mapping[str, Any]]:
        """One object: section -> name -> figure."""
        return [self.evaluation.figures]

    def draw(self, axes: Any) -> None:
        """Draw accuracy against confidence."""
        axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
        for name, bins in self.evaluation.bins.items():
            axes.plot([b.confidence for b in bins], [b.accuracy for b in bins], marker="o", label=name)
        axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
        axes.legend(fontsize="small")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the quality section."""
    parser.add_argument("--prompts", type=Path, help="labelled prompts: how well they are sorted is measured, too")
    parser.add_argument("--split", help="with --prompts: only rows of this split, for example test")
    parser.add_argument("--folds", type=Path, help="with --prompts: JSON with `folds`; adds leave-family-out (slow)")
    parser.add_argument("--also", type=Path, nargs="*", default=(), help="with --folds: further tables of families")
    parser.add_argument("--recipes", action="store_true", help="with --folds: every candidate recipe, too (slower)")
    parser.add_argument("--outside", type=Path, help="with --folds: out-of-scope prompts")
    parser.add_argument("--cache", type=Path, help="folder that keeps embeddings between runs")


def measure(arguments: argparse.Namespace, seed: int) -> QualityReport:
    """Evaluate the router on the labelled prompts; the rewritings have a seed of their own."""
    del seed
    return QualityReport(evaluation_of(load_artefact(arguments.artefact), arguments))
