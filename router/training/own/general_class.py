"""The class of everything else: general prompts of our own beside categories that a user made up.

Owns which prompts those are and how easily they win: the intercept of the class is moved until so many of them, judged
by models that did not see them, are sorted into it. With few rows a category the class would otherwise take everything,
it has the most prompts. Knows nothing about models.
"""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from router.labelled.authored import PLAIN_FAMILY, TEMPLATE_FAMILY, authored_prompts, language_family
from router.labelled.prompts import Prompt
from router.training.own.described import GENERAL
from router.training.training_set import TrainingSet

__all__ = ["FAMILY", "general_prompts", "shift_of"]

FAMILY = "general prompts"
NUM_PROMPTS = 240
ENGLISH_FAMILIES = (TEMPLATE_FAMILY, PLAIN_FAMILY, language_family("en"))
SHARE_KEPT = 0.9  # of general prompts that are to be sorted as such
SHARE_KEPT_UNSEEN = 0.8  # without a labelled row; on prompts that are new altogether it is above .9
SEED = 0


@cache
def general_prompts() -> tuple[Prompt, ...]:
    """Return a seeded sample of the authored general prompts, half of them English, as one family."""
    found = [prompt for prompt in authored_prompts() if prompt.category == GENERAL]
    english = [prompt for prompt in found if prompt.family in ENGLISH_FAMILIES]
    others = [prompt for prompt in found if prompt.family not in ENGLISH_FAMILIES]
    chance = random.Random(SEED)
    chosen = [*chance.sample(english, NUM_PROMPTS // 2), *chance.sample(others, NUM_PROMPTS // 2)]
    return tuple(replace(prompt, family=FAMILY, source=FAMILY) for prompt in chosen)


def shift_of(rows: TrainingSet, judged: NDArray[np.intp], logits: NDArray[np.floating]) -> float:
    """Return what to add to the logits of the general class; 0 where none of its prompts are among the judged rows.

    `logits` (judged, categories) are out of fold.
    """
    is_added = rows.families[judged] == FAMILY
    if not is_added.any():
        return 0.0
    general = rows.categories.index(GENERAL)
    others = np.delete(logits[is_added], general, axis=1).max(axis=1)
    share = SHARE_KEPT_UNSEEN if (rows.families == FAMILY).all() else SHARE_KEPT
    return float(np.quantile(others - logits[is_added, general], share))
