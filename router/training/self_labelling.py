"""Labels for prompts that have none: the nearest labelled prompts vote, and only near-unanimous votes count.

The pipeline of arXiv 2412.01868: a small labelled seed, neighbours label the rest, the entropy of their votes keeps the
sure ones. The largest entropy follows from a target precision on the seed itself. Knows nothing about training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr, softmax
from sklearn.model_selection import GroupKFold

from router.encoding.text_encoder import TextEncoder
from router.labelled.duplicates import groups_of
from router.labelled.fields import TEXT_KEYS
from router.labelled.prompts import Prompt, PromptSet, prompts_in
from router.labelled.rows import RawRow, read_rows
from router.training.classifier import CategoryNeighbours

__all__ = ["FAMILY", "Votes", "max_entropy_for", "read_unlabelled", "self_labelled", "votes_of"]

Floats = NDArray[np.floating]
FAMILY = "self-labelled"
PRECISION = 0.95
NUM_FOLDS = 5


def read_unlabelled(path: Path) -> PromptSet:
    """Read a file of rows with a prompt."""
    rows = read_rows(path, [TEXT_KEYS])
    return prompts_in(
        RawRow(where, row | {"category": FAMILY} if isinstance(row, dict) else row) for where, row in rows
    )


class Votes(NamedTuple):
    """Of n prompts: the label that most neighbours have (n,), and the entropy of the votes (n,) in nats."""

    labels: NDArray[np.str_]
    entropy: Floats


def votes_of(model: CategoryNeighbours, vectors: Floats) -> Votes:
    """Return the neighbours' votes on (n, dims) vectors."""
    shares = softmax(model.logits(vectors), axis=1)
    return Votes(model.classes_[shares.argmax(axis=1)], entr(shares).sum(axis=1))


def max_entropy_for(precision: float, votes: Votes, truth: NDArray[np.str_]) -> float:
    """Return the largest entropy up to which votes are right at that precision; -1 where there is none."""
    order = np.argsort(votes.entropy, kind="stable")
    share_right = np.cumsum(votes.labels[order] == truth[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(share_right >= precision)
    return float(votes.entropy[order[enough[-1]]]) if len(enough) else -1.0


def self_labelled(seed: Sequence[Prompt], unlabelled: Sequence[Prompt], encoder: TextEncoder) -> list[Prompt]:
    """Return the unlabelled prompts with a sure vote, labelled; near-duplicates of the seed are left out."""
    groups = groups_of([prompt.text for prompt in (*seed, *unlabelled)])
    known = set(groups[: len(seed)])
    pool = [prompt for prompt, group in zip(unlabelled, groups[len(seed) :], strict=True) if group not in known]
    if not pool:
        return []
    vectors, truth = encoder.encode([p.text for p in seed]), np.array([p.category for p in seed])
    limit = max_entropy_for(PRECISION, held_out_votes(vectors, truth, groups[: len(seed)]), truth)
    votes = votes_of(CategoryNeighbours().fit(vectors, truth), encoder.encode([p.text for p in pool]))
    return [
        replace(prompt, category=str(label), family=FAMILY)
        for prompt, label, entropy in zip(pool, votes.labels, votes.entropy, strict=True)
        if entropy <= limit
    ]


def held_out_votes(vectors: Floats, truth: NDArray[np.str_], groups: Sequence[str]) -> Votes:
    """Return the votes on the seed itself; a prompt's near-duplicates do not vote on it."""
    labels, entropy = np.empty_like(truth), np.zeros(len(truth))
    for fit_rows, held_rows in GroupKFold(NUM_FOLDS).split(vectors, truth, groups):
        votes = votes_of(CategoryNeighbours().fit(vectors[fit_rows], truth[fit_rows]), vectors[held_rows])
        labels[held_rows], entropy[held_rows] = votes
    return Votes(labels, entropy)
