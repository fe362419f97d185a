"""Measures of a loaded router on labelled prompts: as they are, and as people type them.

Every figure is computed, none is chosen. Knows nothing about experts, or about how a router is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import f1_score

from router.encoding.text_encoder import TextEncoder
from router.evaluation.calibration import Bin, Judged, expected_calibration_error, reliability
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
    """Measure all prompts as they are, and a sample of them under every rewriting."""
    texts = [prompt.text for prompt in prompts]
    scores = score(artefact, encoder.encode(texts), texts)
    figures: dict[str, Any] = {"held_out": asdict(measure(artefact, prompts, scores))}
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
    guess = np.array(artefact.categories)[scores.probabilities.argmax(axis=1)]
    return Measures(
        len(prompts),
        float(is_right.mean()),
        float(f1_score(truth, guess, labels=np.unique(truth), average="macro", zero_division=0)),
        expected_calibration_error(confidence, is_right),
        float((~artefact.abstain.is_sure(confidence)).mean()),
    )


def judged(artefact: Artefact, prompts: Sequence[Prompt], scores: Scores) -> Judged:
    """Return the confidence of every prompt, and whether its likeliest category is the labelled one."""
    guess = np.array(artefact.categories)[scores.probabilities.argmax(axis=1)]
    truth = np.array([prompt.category for prompt in prompts])
    return Judged(scores.confidence, guess == truth)
