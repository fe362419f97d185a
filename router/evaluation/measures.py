"""Measures of a loaded router on labelled prompts: as they are, and as people type them.

Every figure is computed, none is chosen. Knows nothing about experts, or about how a router is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from router.encoding.text_encoder import TextEncoder
from router.evaluation.breakdown import Outcomes, by_category, confusions, slices
from router.evaluation.calibration import Bin, Judged, expected_calibration_error, reliability
from router.evaluation.coverage import coverage_of
from router.evaluation.rewritings import REWRITINGS, rewritten
from router.labelled.prompts import Prompt
from router.model.artefact import Artefact
from router.model.scores import Scores, score

__all__ = ["SEED", "Evaluation", "Measures", "evaluate", "measure"]

SEED = 0
NUM_REWRITTEN = 1000  # prompts that are measured under every rewriting


@dataclass(frozen=True, slots=True)
class Measures:
    """Of labelled prompts; `abstained` is the share on which the router is not sure."""

    num_prompts: int
    accuracy: float
    macro_f1: float
    ece: float
    abstained: float


class Evaluation(NamedTuple):
    """Figures for the JSON by name, and the bins of reliability diagrams by title."""

    figures: dict[str, Any]
    bins: dict[str, list[Bin]]

    def joined(self, other: Evaluation) -> Evaluation:
        """Return both."""
        return Evaluation(self.figures | other.figures, self.bins | other.bins)


def evaluate(artefact: Artefact, prompts: Sequence[Prompt], encoder: TextEncoder) -> Evaluation:
    """Measure all prompts as they are, in all and in parts, and a sample of them under every rewriting.

    Raises:
        ValueError: there is no prompt.
    """
    if not prompts:
        raise ValueError("no prompt to measure: name a file with labelled prompts")
    texts = [prompt.text for prompt in prompts]
    scores = score(artefact, encoder.encode(texts), texts)
    figures: dict[str, Any] = {"held_out": asdict(measure(artefact, prompts, scores))}
    figures |= details(artefact, prompts, scores)
    sample = np.random.default_rng(SEED).permutation(len(prompts))[:NUM_REWRITTEN].tolist()
    some = [prompts[row] for row in sample]
    for name in ("as they are", *REWRITINGS):
        typed = [prompt.text if name == "as they are" else rewritten(prompt.text, name) for prompt in some]
        measures = measure(artefact, some, score(artefact, encoder.encode(typed), typed))
        figures[f"sample of held_out, {name}"] = asdict(measures)
    return Evaluation(figures, {"held out": reliability(*judged(artefact, prompts, scores))})


def measure(artefact: Artefact, prompts: Sequence[Prompt], scores: Scores) -> Measures:
    """Return the measures of an artefact on labelled prompts; a category that it does not have counts as wrong."""
    confidence, is_right = judged(artefact, prompts, scores)
    truth = np.array([prompt.category for prompt in prompts])
    guess = guesses(artefact, scores)
    return Measures(
        len(prompts),
        float(is_right.mean()),
        float(f1_score(truth, guess, labels=np.unique(truth), average="macro", zero_division=0)),
        expected_calibration_error(confidence, is_right),
        float((~artefact.abstain.is_sure(confidence)).mean()),
    )


def details(artefact: Artefact, prompts: Sequence[Prompt], scores: Scores) -> dict[str, Any]:
    """Return the sections about parts of the prompts; languages and families only where rows have several."""
    outcomes = Outcomes(tuple(prompts), guesses(artefact, scores), artefact.abstain.is_sure(scores.confidence))
    found = judged(artefact, prompts, scores)
    parts = {
        "languages": slices(outcomes, lambda prompt: prompt.language),
        "families": slices(outcomes, lambda prompt: prompt.family),
    }
    return {
        "categories": {name: asdict(row) for name, row in by_category(outcomes, artefact.categories).items()},
        "confusions": [asdict(pair) for pair in confusions(outcomes)],
        "calibration": {
            "ece": expected_calibration_error(*found),
            "bins": [bin._asdict() for bin in reliability(*found)],
        },
        "coverage": asdict(coverage_of(found)),
    } | {name: {part: asdict(row) for part, row in rows.items()} for name, rows in parts.items() if rows}


def guesses(artefact: Artefact, scores: Scores) -> NDArray[np.str_]:
    """Return (n,) the likeliest category of each prompt."""
    found: NDArray[np.str_] = np.array(artefact.categories)[scores.probabilities.argmax(axis=1)]
    return found


def judged(artefact: Artefact, prompts: Sequence[Prompt], scores: Scores) -> Judged:
    """Return the confidence of every prompt, and whether its likeliest category is the labelled one."""
    truth = np.array([prompt.category for prompt in prompts])
    return Judged(scores.confidence, guesses(artefact, scores) == truth)
