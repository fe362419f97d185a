"""Prompts to an artefact: encode, fit, calibrate, set the abstain rule, keep exemplars.

Every choice is made on out-of-fold scores of the training rows, never on test rows. Knows nothing about where prompts
come from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from router.encoding.text_encoder import TextEncoder
from router.labelled.duplicates import groups_of
from router.labelled.prompts import Prompt
from router.model.artefact import Artefact, Exemplar
from router.model.category_model import CategoryModel
from router.model.follow_up import FollowUpModel
from router.model.layers import LinearLayer
from router.training.exemplars import exemplar_rows, whole
from router.training.fitting import fit_model
from router.training.follow_up_training import follow_up_model
from router.training.out_of_fold import OutOfFold, accuracy, calibrate, family_accuracy, held_out
from router.training.own.described import GENERAL
from router.training.own.general_class import general_prompts
from router.training.recipe import DEFAULTS, Recipe
from router.training.self_labelling import self_labelled
from router.training.training_set import TrainingSet
from router.training.training_warnings import warnings_about

__all__ = ["train"]

MIN_PER_CATEGORY = 5  # where nothing but rows says what a category is


def train(
    prompts: Sequence[Prompt],
    encoder: TextEncoder,
    recipe: Recipe = DEFAULTS,
    unlabelled: Sequence[Prompt] = (),
    follow_up: FollowUpModel | None = None,
    descriptions: Mapping[str, str] | None = None,
    others: Sequence[Prompt] = (),
    *,
    looks_for_warnings: bool = True,
) -> Artefact:
    """Return the artefact of these prompts, and of those unlabelled ones whose neighbours agree on a category.

    `follow_up` is the encoder's model of follow-ups; by default the shipped one, or one fitted on authored turns.
    `descriptions` is category -> a sentence, for the recipe that reads them: a category with one needs no prompt. That
    recipe adds general prompts where no prompt is labelled `general`, and `others`, which belong to no category here.
    Warnings about the rows stand in the artefact's metrics, for whoever reads them.

    Raises:
        ValueError: fewer than two categories, or one with fewer prompts than the recipe needs.
    """
    rows = training_set(prompts, encoder, recipe, unlabelled, descriptions or {}, others)
    scores = held_out(rows, recipe)
    calibration = calibrate(rows, scores, recipe)
    warnings = warnings_about(rows, scores, calibration, descriptions or {}) if looks_for_warnings else []
    chosen, model = exemplar_rows(rows.labels, recipe), shifted(fit_model(rows, recipe), rows.categories, scores.shift)
    return Artefact(
        encoder_source=encoder.source,
        encoder_id=encoder.id,
        categories=rows.categories,
        temperature=calibration.temperature,
        abstain=calibration.rule,
        model=model,
        follow_up=follow_up or follow_up_model(encoder),
        exemplars=tuple(exemplar(rows.prompts[row]) for row in chosen.tolist()),
        exemplar_vectors=whole(model.centred(rows.vectors[chosen])).astype(np.float32),
        data=data_card(rows.prompts),
        metrics=metrics_of(rows, scores.by_group, scores.by_family) | ({"warnings": warnings} if warnings else {}),
    )


def training_set(
    prompts: Sequence[Prompt],
    encoder: TextEncoder,
    recipe: Recipe,
    unlabelled: Sequence[Prompt],
    descriptions: Mapping[str, str],
    others: Sequence[Prompt],
) -> TrainingSet:
    """Return the rows to train on, those that are labelled by neighbours or added by the recipe included."""
    is_described = recipe.kind == "described"
    check_balance(prompts, descriptions, 1 if is_described else MIN_PER_CATEGORY)
    rows = [*prompts, *(self_labelled(prompts, unlabelled, encoder) if unlabelled else ())]
    if not is_described:
        return TrainingSet.of(rows, encoder)
    added = () if any(prompt.category == GENERAL for prompt in prompts) else general_prompts()
    return TrainingSet.of([*rows, *added, *others], encoder, descriptions)


def check_balance(prompts: Sequence[Prompt], descriptions: Mapping[str, str], least: int) -> None:
    """Raises ValueError unless there are two categories, each with a description or `least` distinct prompts."""
    groups = {(p.category, group) for p, group in zip(prompts, groups_of([p.text for p in prompts]), strict=True)}
    balance = Counter(category for category, _ in groups)
    if len(balance.keys() | descriptions.keys()) < (1 if descriptions else 2):
        found = sorted(balance.keys() | descriptions.keys())
        raise ValueError(f"categories {found}: a router needs two or more; add labelled prompts of another")
    for category, count in balance.items():
        if count < least and category not in descriptions:
            raise ValueError(
                f"category '{category}' has {count} distinct prompt(s), near-duplicates counted once: at least "
                f"{least} are needed; add some, or leave the category out"
            )


def shifted(model: CategoryModel, categories: Sequence[str], shift: float) -> CategoryModel:
    """Return the model with another intercept of the general class."""
    if not shift:
        return model
    assert isinstance(model.layer, LinearLayer), "the recipe that adds general prompts fits a linear layer"
    intercept = model.layer.intercept.copy()
    intercept[categories.index(GENERAL)] += shift
    return replace(model, layer=LinearLayer(model.layer.coef, intercept))


def metrics_of(rows: TrainingSet, by_group: OutOfFold, by_family: OutOfFold) -> dict[str, object]:
    """Return the accuracies out of fold; none where no row is the user's own."""
    found: dict[str, object] = {}
    if len(by_group.rows):
        found["out_of_fold_accuracy"] = round(accuracy(rows, by_group), 4)
    if len(by_family.rows):
        found["held_out_family_accuracy"] = round(family_accuracy(rows, by_family), 4)
    return found


def exemplar(prompt: Prompt) -> Exemplar:
    return Exemplar(prompt.id, prompt.source, prompt.category, prompt.text if prompt.may_be_shown else None)


def data_card(prompts: Sequence[Prompt]) -> dict[str, dict[str, object]]:
    """Return source -> rows used and licence."""
    sources = Counter((prompt.source, prompt.license) for prompt in prompts)
    return {source: {"rows": rows, "license": license_} for (source, license_), rows in sorted(sources.items())}
