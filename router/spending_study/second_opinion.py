"""A language model's second opinion of a prompt's category, and what it adds to the router's.

Owns the sentences whose likelihoods are compared, the calibration by a content-free prompt (Zhao et al. 2021) and the
weight with which both opinions are added, fitted on one half of families and judged on the other. Pure. Knows nothing
about how likelihoods come about.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from router.mapping_study.half_split import halves
from router.mapping_study.intervals import PairedDifference, paired_bootstrap

__all__ = ["CONTENT_FREE", "DESCRIPTIONS", "OpinionReport", "Opinions", "report_of", "sentence"]

Floats = NDArray[np.floating]
CONTENT_FREE = ("N/A", "[MASK]", "...")
WEIGHTS = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # of the opinion, beside the router's log-probability
NUM_SPLITS = 20
DESCRIPTIONS: Mapping[str, str] = {
    "code": "writing, explaining or fixing a computer program",
    "creative_writing": "writing a story, a poem, a role or another piece of fiction",
    "cyber": "computer security, attacks and defences",
    "finance": "money, investments, accounting or a company's figures",
    "general": "general knowledge or small talk",
    "law": "law, contracts, courts or statutes",
    "math": "solving a mathematical problem",
    "medicine": "health, diseases, drugs or biology",
    "reasoning": "logical reasoning, a puzzle or common sense",
    "sql": "querying a database in SQL",
    "summarization": "summarising a text",
    "tools": "calling a function, using a tool or having an assistant do something",
    "translation": "translating a text into another language",
}


def sentence(description: str) -> str:
    """Return the text whose likelihood after the prompt speaks for a category."""
    return f"This is a request about {description}."


class Opinions(NamedTuple):
    """Of n prompts: the router's log-probabilities and the language model's mean log-likelihoods, both (n, categories).

    `prior` (categories,) are the likelihoods after content-free prompts; `truth` (n,) is the category's column.
    """

    router: Floats
    likelihoods: Floats
    prior: Floats
    truth: NDArray[np.integer]
    families: NDArray[np.str_]

    @property
    def calibrated(self) -> Floats:
        found: Floats = self.likelihoods - self.prior
        return found

    def combined(self, weight: float) -> Floats:
        """Return the sum of both opinions."""
        return self.router + weight * self.calibrated


class OpinionReport(NamedTuple):
    """Accuracies on the families judged, over all splits; the difference is of the combination to the router alone."""

    num_prompts: int
    num_families: int
    router: float
    language_model: float
    uncalibrated: float
    combined: float
    weights: tuple[float, ...]
    difference: PairedDifference


def report_of(opinions: Opinions) -> OpinionReport:
    """Return the report: weights by log-likelihood on one half of families, accuracy on the other."""
    members = np.unique(opinions.families, return_inverse=True)[1]
    router, alone, raw = (
        right(scores, opinions.truth) for scores in (opinions.router, opinions.calibrated, opinions.likelihoods)
    )
    totals, counts, weights = np.zeros(len(members)), np.zeros(len(members)), []
    for seed in range(NUM_SPLITS):
        learn, judge = halves(members, seed)
        weight = best_weight(opinions, learn)
        totals[judge] += right(opinions.combined(weight)[judge], opinions.truth[judge])
        counts[judge] += 1
        weights.append(weight)
    seen = counts > 0
    combined = totals[seen] / counts[seen]
    return OpinionReport(
        num_prompts=int(seen.sum()),
        num_families=len(np.unique(members)),
        router=float(router[seen].mean()),
        language_model=float(alone[seen].mean()),
        uncalibrated=float(raw[seen].mean()),
        combined=float(combined.mean()),
        weights=tuple(weights),
        difference=paired_bootstrap(combined - router[seen], members[seen]),
    )


def right(scores: Floats, truth: NDArray[np.integer]) -> Floats:
    """Return (n,): 1 where the highest score is the true category's."""
    found: Floats = (scores.argmax(axis=1) == truth).astype(np.float64)
    return found


def best_weight(opinions: Opinions, rows: NDArray[np.integer]) -> float:
    """Return the weight under which the true categories are likeliest; of equals the smallest."""

    def loss(weight: float) -> float:
        scores = log_softmax(opinions.combined(weight)[rows], axis=1)
        return -float(scores[np.arange(len(rows)), opinions.truth[rows]].mean())

    return min(WEIGHTS, key=loss)
