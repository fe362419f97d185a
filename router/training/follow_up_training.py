"""Fitting the follow-up model on authored conversations.

Owns the pairs: authored follow-ups after their first turn, and authored prompts that stand alone after another prompt
of the same language. Deterministic. Knows nothing about categories.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from router.encoding.text_encoder import TextEncoder
from router.labelled.authored import PLAIN_FAMILY, TEMPLATE_FAMILY, authored_prompts, language_family
from router.labelled.conversations import TwoTurns, follow_ups, short_follow_ups, short_prompts
from router.labelled.prompts import Prompt
from router.model.artefact import DEFAULT_FOLDER, ArtefactError, load_artefact
from router.model.follow_up import FollowUpModel
from router.training.exemplars import whole

__all__ = ["fit_follow_up", "follow_up_model", "training_pairs"]

PAIRS_ALONE = 2.3  # pairs whose second turn stands alone, for each follow-up
ENGLISH_ALONE = 9.0  # plain English prompts are the commonest, and there are many more of them
ENGLISH_FAMILIES = (TEMPLATE_FAMILY, PLAIN_FAMILY)
FITTED: dict[str, FollowUpModel] = {}  # encoder id -> its model
SHARE_SHORT = 0.25  # of the prompts that stand alone, those of a few words


def follow_up_model(encoder: TextEncoder) -> FollowUpModel:
    """Return the shipped router's model where it has this encoder, else one fitted once in a process."""
    if encoder.id not in FITTED:
        FITTED[encoder.id] = shipped_model(encoder.id) or fit_follow_up(encoder)
    return FITTED[encoder.id]


def shipped_model(encoder_id: str) -> FollowUpModel | None:
    """Return the shipped router's model, None if it has another encoder or is being made."""
    try:
        shipped = load_artefact(DEFAULT_FOLDER)
    except ArtefactError:
        return None
    return shipped.follow_up if shipped.encoder_id == encoder_id else None


def fit_follow_up(encoder: TextEncoder) -> FollowUpModel:
    """Return a model fitted on all authored pairs."""
    pairs = training_pairs()
    first = whole(encoder.encode([pair.first for pair in pairs]))
    second = whole(encoder.encode([pair.second for pair in pairs]))
    labels = np.array([pair.stays for pair in pairs])
    centre = np.concatenate([first, second]).mean(axis=0)
    return fitted(FollowUpModel(centre, np.zeros(len(centre) + 1), 0.0), first, second, labels)


def fitted(
    model: FollowUpModel, first: NDArray[np.floating], second: NDArray[np.floating], labels: NDArray[np.bool_]
) -> FollowUpModel:
    regression = LogisticRegression(class_weight="balanced", max_iter=500)
    regression.fit(model.features(first, second), labels)
    return FollowUpModel(model.centre, regression.coef_[0], float(regression.intercept_[0]))


def short_pairs(authored: Sequence[Prompt]) -> list[TwoTurns]:
    """Return follow-ups of a few words, each after a prompt of its category or of any."""
    found = []
    for category, second in short_follow_ups():
        of_category = [prompt.text for prompt in authored if category in ("*", prompt.category)]
        found.append(TwoTurns(random.Random(second).choice(of_category), second, True, "en"))
    return found


def training_pairs() -> list[TwoTurns]:
    """Return the pairs, language by language."""
    authored, said = authored_prompts(), follow_ups()
    found = [*said, *short_pairs(authored)]
    first_turns: dict[str, list[str]] = {}
    for each in said:
        first_turns.setdefault(each.language, []).append(each.first)
    for language, starts in first_turns.items():
        rng = random.Random(language)
        families = {language_family(language), *(ENGLISH_FAMILIES if language == "en" else ())}
        prompts = [prompt.text for prompt in authored if prompt.family in families]
        short = short_prompts(language)
        num_alone = (ENGLISH_ALONE if language == "en" else PAIRS_ALONE) * len(starts)
        for _ in range(round(num_alone)):
            first = rng.choice(starts if rng.random() < 0.6 else prompts)
            second = rng.choice(short if rng.random() < SHARE_SHORT else prompts)
            found.append(TwoTurns(first, second, False, language))
    return found
