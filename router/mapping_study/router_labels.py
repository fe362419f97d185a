"""The labels that a trained router gives a table's prompts, out of fold where the router was trained on them.

A router has seen its training prompts, so it labels them better than new ones, and a mapping learned from those labels
hopes for too much. Where the training rows are named, their prompts, and near-duplicates of those, are
labelled by models of the same kind that saw neither; all other prompts by the router itself. Where they are not named,
prompts that are training prompts by their vectors are counted. Knows nothing about scores or mappings.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.model_selection import StratifiedGroupKFold
from tqdm import tqdm

from router.encoding.text_encoder import TextEncoder
from router.labelled.duplicates import groups_of
from router.labelled.prompts import Prompt
from router.model.artefact import Artefact
from router.model.layers import HiddenLayer, NeighbourLayer
from router.model.scores import Scores, score
from router.training.fitting import fit_model
from router.training.recipe import DEFAULTS, Recipe
from router.training.training_set import TrainingSet

__all__ = ["SAME_COSINE", "RouterLabels", "num_rows", "router_labels"]

SAME_COSINE = 0.9995  # of vectors that are kept in 16 bits: above it a prompt is a training prompt, but for a character


@dataclass(frozen=True, slots=True)
class RouterLabels:
    """Of n prompts, each (n,): the likeliest category, and whether the router is sure; `notes` say how they came."""

    labels: NDArray[np.str_]
    is_sure: NDArray[np.bool_]
    notes: tuple[str, ...]


class HeldOut(NamedTuple):
    """Rows of a table, and their logits (rows, categories) by models that saw none of their near-duplicates."""

    rows: NDArray[np.intp]
    logits: NDArray[np.floating]


def router_labels(
    artefact: Artefact, encoder: TextEncoder, prompts: Sequence[str], trained_on: Sequence[Prompt] = ()
) -> RouterLabels:
    """Return the labels of prompts; `trained_on` are the rows that the artefact was trained on, if they are known.

    Raises:
        ValueError: rows of a category that the artefact does not have.
    """
    vectors = encoder.encode(prompts)
    found = score(artefact, vectors, prompts)
    if not trained_on:
        return labelled(artefact, found, (in_sample_note(artefact, found),))
    held = held_out(artefact, encoder, prompts, trained_on)
    probabilities = found.probabilities.copy()
    probabilities[held.rows] = softmax(held.logits / artefact.temperature, axis=1)
    confidence = artefact.abstain.confidence(probabilities, prompts)
    note = f"labels: {len(held.rows)} of {len(prompts)} prompts are training prompts or near one, labelled out of fold"
    return labelled(artefact, Scores(probabilities, confidence, found.nearest), (note,))


def labelled(artefact: Artefact, found: Scores, notes: tuple[str, ...]) -> RouterLabels:
    labels = np.array(artefact.categories)[found.probabilities.argmax(axis=1)]
    return RouterLabels(labels, artefact.abstain.is_sure(found.confidence), notes)


def in_sample_note(artefact: Artefact, found: Scores) -> str:
    """Say how many prompts the router was trained on, as far as the prompts that it keeps can tell."""
    num_same = int((found.nearest.cosines[:, 0] >= SAME_COSINE).sum())
    kept, trained = len(artefact.exemplars), num_rows(artefact)
    of = f"{kept} training prompts that the artefact keeps" + (f" of {trained}" if trained > kept else "")
    if not num_same:
        return f"labels: by the router as it is; no prompt is one of the {of}"
    return (
        f"labels: IN SAMPLE for {num_same} of {len(found.confidence)} prompts or more, which are among the {of}; "
        f"name the training rows with --train for labels out of fold"
    )


def num_rows(artefact: Artefact) -> int:
    """Return how many rows the artefact's data card counts, 0 where it has none."""
    counts = [entry.get("rows") for entry in artefact.data.values() if isinstance(entry, dict)]
    return sum(count for count in counts if isinstance(count, int))


def held_out(artefact: Artefact, encoder: TextEncoder, prompts: Sequence[str], trained_on: Sequence[Prompt]) -> HeldOut:
    """Return logits of the prompts that share a near-duplicate group with a training row, fold by fold."""
    known = set(artefact.categories)
    for row in trained_on:
        if row.category not in known:
            raise ValueError(
                f"--train: {row.id} has category '{row.category}', which the router does not have; name the rows that "
                f"it was trained on; its categories: {', '.join(artefact.categories)}"
            )
    groups = np.array(groups_of([*(row.text for row in trained_on), *prompts]))
    train_groups, groups = groups[: len(trained_on)], groups[len(trained_on) :]
    asked = np.flatnonzero(np.isin(groups, train_groups))
    logits = np.full((len(prompts), len(artefact.categories)), -np.inf)
    if len(asked):
        rows = replace(TrainingSet.of(trained_on, encoder), groups=train_groups)
        columns = np.array([artefact.categories.index(name) for name in rows.categories])
        for fit_rows, held_groups in folds_of_groups(rows, recipe_of(artefact)):
            held = asked[np.isin(groups[asked], held_groups)]
            if len(held):
                texts = [prompts[row] for row in held.tolist()]
                model = fit_model(rows.take(fit_rows), recipe_of(artefact))
                logits[np.ix_(held, columns)] = model.logits(encoder.encode(texts), texts)
    return HeldOut(asked, logits[asked])


def folds_of_groups(rows: TrainingSet, recipe: Recipe) -> Sequence[tuple[NDArray[np.intp], NDArray[np.str_]]]:
    """Return for each fold the rows to fit on and the groups that are held out."""
    num_folds = min(recipe.num_folds, len(np.unique(rows.groups)))
    splits = StratifiedGroupKFold(num_folds, shuffle=True, random_state=recipe.seed)
    folds = splits.split(rows.vectors, rows.labels, rows.groups)
    return tqdm(  # type: ignore[no-any-return]  # tqdm is untyped
        [(fit, np.unique(rows.groups[held])) for fit, held in folds],
        "models for held-out rows",
        file=sys.stderr,
        disable=None,
    )


def recipe_of(artefact: Artefact) -> Recipe:
    """Return the recipe by what the artefact shows of it; penalties, which it does not, are the defaults."""
    model = artefact.model
    weight = model.tf_idf_weight if model.tf_idf else 0.0
    if isinstance(model.layer, HiddenLayer):
        return replace(DEFAULTS, kind="hidden", tf_idf_weight=weight)
    return replace(
        DEFAULTS, kind="neighbours" if isinstance(model.layer, NeighbourLayer) else "linear", tf_idf_weight=weight
    )
