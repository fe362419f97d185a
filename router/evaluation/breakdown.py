"""An evaluation broken down: by category, by language, by family, and which categories are taken for which.

Owns the counts and what is computed from them; a figure that nothing was counted for is None, never a number. Knows
nothing about models or files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.labelled.licence import may_be_quoted
from router.labelled.prompts import Prompt

__all__ = ["CategoryFigures", "Confusion", "Outcomes", "SliceFigures", "by_category", "confusions", "slices"]

TEXT_CHARS = 80
NUM_CONFUSIONS = 15


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Of n prompts, each (n,): the likeliest category, and whether the router is sure of it."""

    prompts: tuple[Prompt, ...]
    guesses: NDArray[np.str_]
    is_sure: NDArray[np.bool_]

    @property
    def truth(self) -> NDArray[np.str_]:
        return np.array([prompt.category for prompt in self.prompts])


@dataclass(frozen=True, slots=True)
class CategoryFigures:
    """One category against all others, by the likeliest category, sure or not.

    `accuracy` is the share of all prompts that are rightly put into it or rightly kept out of it; `recall` is of its
    own prompts, `precision` of those put into it; `abstained` is the share of its own prompts that the router is not
    sure of. `is_known` is False for a category that the router does not have.
    """

    num_prompts: int
    num_guessed: int
    accuracy: float
    precision: float | None
    recall: float | None
    f1: float | None
    abstained: float | None
    is_known: bool


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often one category was taken for another; `example` is a row's id, `text` its beginning if that is free."""

    true: str
    predicted: str
    count: int
    example: str
    text: str | None


@dataclass(frozen=True, slots=True)
class SliceFigures:
    """The prompts of one language or family."""

    num_prompts: int
    accuracy: float
    abstained: float


def ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def by_category(outcomes: Outcomes, categories: Sequence[str]) -> dict[str, CategoryFigures]:
    """Return the figures of every category that has a prompt or is guessed; `categories` are those of the router."""
    truth, guesses = outcomes.truth, outcomes.guesses
    found = {}
    for name in sorted({*truth.tolist(), *guesses.tolist()}):
        own, guessed = truth == name, guesses == name
        hits, num_own, num_guessed = int((own & guessed).sum()), int(own.sum()), int(guessed.sum())
        found[name] = CategoryFigures(
            num_own,
            num_guessed,
            float((own == guessed).mean()),
            ratio(hits, num_guessed),
            ratio(hits, num_own),
            ratio(2 * hits, num_own + num_guessed),
            ratio(int((own & ~outcomes.is_sure).sum()), num_own),
            name in categories,
        )
    return found


def confusions(outcomes: Outcomes, num_pairs: int = NUM_CONFUSIONS) -> list[Confusion]:
    """Return the most frequent pairs of true and predicted category, each with its first row."""
    pairs = list(zip(outcomes.truth.tolist(), outcomes.guesses.tolist(), strict=True))
    counts = Counter(pair for pair in pairs if pair[0] != pair[1])
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:num_pairs]
    return [confusion(*pair, count, outcomes.prompts[pairs.index(pair)]) for pair, count in ranked]


def confusion(true: str, predicted: str, count: int, row: Prompt) -> Confusion:
    text = " ".join(row.text.split())[:TEXT_CHARS] if may_be_quoted(row) else None
    return Confusion(true, predicted, count, row.id, text)


def slices(outcomes: Outcomes, part_of: Callable[[Prompt], str]) -> dict[str, SliceFigures]:
    """Return the figures of each part of the prompts, largest first; none where there is one part only."""
    parts = np.array([part_of(prompt) for prompt in outcomes.prompts])
    is_right = outcomes.guesses == outcomes.truth
    names = Counter(name for name in parts.tolist() if name)
    if len(names) < 2:
        return {}
    return {
        name: SliceFigures(
            size, float(is_right[parts == name].mean()), float((~outcomes.is_sure[parts == name]).mean())
        )
        for name, size in names.most_common()
    }
