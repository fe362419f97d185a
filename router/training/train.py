"""Prompts to an artefact: encode, choose by cross-validation, fit, calibrate, set the abstain rule, keep exemplars.

Every choice is made on out-of-fold values of the training rows, never on test rows. Knows nothing about where prompts
come from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from router.encoding.text_encoder import TextEncoder
from router.model.artefact import Artefact, Exemplar
from router.training.duplicates import groups_of
from router.training.exemplars import choose_exemplars, whole
from router.training.fitting import fit_model
from router.training.out_of_fold import accuracy, calibrate, family_accuracy, held_out_families, held_out_rows
from router.training.prompts import Prompt
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
) -> Artefact:
    """Return the artefact of these prompts, and of those unlabelled ones whose neighbours agree on a category.

    Raises:
        ValueError: fewer than two categories, or one with fewer than five prompts.
    """
    check_balance(prompts)
    training_set = TrainingSet.of([*prompts, *self_labelled(prompts, unlabelled, encoder)], encoder)
    known, foreign = held_out_rows(training_set, recipe), held_out_families(training_set, recipe)
    temperature, rule = calibrate(training_set, known, foreign, recipe)
    chosen = choose_exemplars(training_set.labels, recipe)
    return Artefact(
        encoder_source=encoder.source,
        encoder_id=encoder.id,
        categories=training_set.categories,
        temperature=temperature,
        abstain=rule,
        model=fit_model(training_set, recipe),
        exemplars=tuple(exemplar(training_set.prompts[row]) for row in chosen.tolist()),
        exemplar_vectors=whole(training_set.vectors[chosen]),
        data=data_card(training_set.prompts),
        metrics={
            "out_of_fold_accuracy": round(accuracy(training_set, known), 4),
            "held_out_family_accuracy": round(family_accuracy(training_set, foreign), 4),
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
