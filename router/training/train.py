"""Prompts to an artefact: encode, fit, calibrate, set the abstain rule, keep exemplars.

Every choice is made on out-of-fold scores of the training rows, never on test rows. Knows nothing about where prompts
come from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from router.encoding.text_encoder import TextEncoder
from router.labelled.duplicates import groups_of
from router.labelled.prompts import Prompt
from router.model.artefact import Artefact, Exemplar
from router.model.follow_up import FollowUpModel
from router.training.exemplars import exemplar_rows, whole
from router.training.fitting import fit_model
from router.training.follow_up_training import follow_up_model
from router.training.out_of_fold import accuracy, calibrate, family_accuracy, held_out_families, held_out_groups
from router.training.recipe import DEFAULTS, Recipe
from router.training.self_labelling import self_labelled
from router.training.training_set import TrainingSet

__all__ = ["train"]

MIN_PER_CATEGORY = 5


def train(
    prompts: Sequence[Prompt],
    encoder: TextEncoder,
    recipe: Recipe = DEFAULTS,
    unlabelled: Sequence[Prompt] = (),
    follow_up: FollowUpModel | None = None,
) -> Artefact:
    """Return the artefact of these prompts, and of those unlabelled ones whose neighbours agree on a category.

    `follow_up` is the encoder's model of follow-ups; by default the shipped one, or one fitted on authored turns.

    Raises:
        ValueError: fewer than two categories, or one with fewer than five prompts.
    """
    check_balance(prompts)
    rows = TrainingSet.of([*prompts, *self_labelled(prompts, unlabelled, encoder)], encoder)
    by_group, by_family = held_out_groups(rows, recipe), held_out_families(rows, recipe)
    temperature, rule = calibrate(rows, by_group, by_family, recipe)
    chosen, model = exemplar_rows(rows.labels, recipe), fit_model(rows, recipe)
    return Artefact(
        encoder_source=encoder.source,
        encoder_id=encoder.id,
        categories=rows.categories,
        temperature=temperature,
        abstain=rule,
        model=model,
        follow_up=follow_up or follow_up_model(encoder),
        exemplars=tuple(exemplar(rows.prompts[row]) for row in chosen.tolist()),
        exemplar_vectors=whole(model.centred(rows.vectors[chosen])).astype(np.float32),
        data=data_card(rows.prompts),
        metrics={
            "out_of_fold_accuracy": round(accuracy(rows, by_group), 4),
            "held_out_family_accuracy": round(family_accuracy(rows, by_family), 4),
        },
    )


def check_balance(prompts: Sequence[Prompt]) -> None:
    """Raises ValueError unless every category can be cross-validated."""
    groups = {(p.category, group) for p, group in zip(prompts, groups_of([p.text for p in prompts]), strict=True)}
    balance = Counter(category for category, _ in groups)
    if len(balance) < 2:
        raise ValueError(f"categories {sorted(balance)}: a router needs two or more; add labelled prompts of another")
    for category, count in balance.items():
        if count < MIN_PER_CATEGORY:
            raise ValueError(
                f"category '{category}' has {count} distinct prompt(s), near-duplicates counted once: at least "
                f"{MIN_PER_CATEGORY} are needed; add some, or leave the category out"
            )


def exemplar(prompt: Prompt) -> Exemplar:
    return Exemplar(prompt.id, prompt.source, prompt.category, prompt.text if prompt.may_be_shown else None)


def data_card(prompts: Sequence[Prompt]) -> dict[str, dict[str, object]]:
    """Return source -> rows used and licence."""
    sources = Counter((prompt.source, prompt.license) for prompt in prompts)
    return {source: {"rows": rows, "license": license_} for (source, license_), rows in sorted(sources.items())}
