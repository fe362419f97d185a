"""What the served router and a candidate say of rows that neither saw.

Owns the fairness of the comparison. The candidate is trained again without the rows that are held out, and without
their near-duplicates. The served router answers rows that it was not trained on; for those that it was trained on a
stand-in answers, trained as it was on its own rows without the held-out ones, and where that cannot be had these rows
are left out. Knows nothing about verdicts or files.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from router.encoding.text_encoder import TextEncoder
from router.labelled.duplicates import groups_of
from router.labelled.prompts import Prompt
from router.labelled.training_record import TrainingRecord, digest_of
from router.mapping_study.router_labels import SAME_COSINE, num_rows
from router.model.artefact import Artefact
from router.model.follow_up import FollowUpModel
from router.model.scores import score
from router.training.recipe import Recipe
from router.training.train import MIN_PER_CATEGORY, train
from router.versions.gate import Answers

__all__ = ["HeldOutAnswers", "Served", "Training", "held_out"]

NUM_FOLDS = 5
MANY_ROWS = 5000  # from here on a fifth of the rows is held out once, instead of each fifth in turn
Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Training:
    """How a router is trained, but for the rows."""

    encoder: TextEncoder
    recipe: Recipe
    descriptions: dict[str, str]
    follow_up: FollowUpModel | None = None

    def on(self, prompts: Sequence[Prompt]) -> Artefact:
        return train(prompts, self.encoder, self.recipe, follow_up=self.follow_up, descriptions=self.descriptions)

    @property
    def least_groups(self) -> int:
        """How many distinct prompts of a category there must be for one to be held out."""
        return 2 if self.recipe.kind == "described" else 2 * MIN_PER_CATEGORY


@dataclass(frozen=True, slots=True)
class Served:
    """The served router, and how it was trained, if that is known."""

    artefact: Artefact
    encoder: TextEncoder
    record: TrainingRecord | None = None
    training: Training | None = None


class HeldOutAnswers(NamedTuple):
    """Rows of the table that were held out, what both say of them, and how the comparison came about."""

    rows: Rows
    old: Answers
    new: Answers
    groups: NDArray[np.str_]  # of those rows
    notes: tuple[str, ...]


class Known(NamedTuple):
    """Which rows of a table the served router was trained on, (n,) each: by themselves, by their near-duplicates."""

    is_trained_on: NDArray[np.bool_]
    is_in_sample: NDArray[np.bool_]
    has_all: bool  # the rows it was trained on, all of them, stand in the table


def held_out(prompts: Sequence[Prompt], served: Served, candidate: Training) -> HeldOutAnswers:
    """Return what both say of the rows that can be held out, fold by fold."""
    groups = np.array(groups_of([prompt.text for prompt in prompts]), np.str_)
    known = known_rows(prompts, groups, served)
    stand_in = served.training if known.has_all else None
    is_judged = is_common(prompts, groups, np.ones(len(prompts), np.bool_), candidate.least_groups)
    is_judged &= ~known.is_in_sample | can_stand_in(prompts, groups, known, stand_in)
    folds = folds_of(prompts, groups, is_judged, candidate.recipe.seed)
    num_folds = 1 if is_judged.sum() >= MANY_ROWS else NUM_FOLDS
    old, new = [Said.of([])], [Said.of([])]
    for fold in range(num_folds):
        rows = np.flatnonzero(folds == fold)
        if not len(rows):
            continue
        kept = ~np.isin(groups, groups[rows])
        new.append(Said(rows, answers(candidate.on(chosen(prompts, kept)), candidate.encoder, prompts, rows)))
        seen = known.is_in_sample[rows]
        old.append(Said(rows[~seen], answers(served.artefact, served.encoder, prompts, rows[~seen])))
        if stand_in is not None and seen.any():
            again = stand_in.on(chosen(prompts, kept & known.is_trained_on))
            old.append(Said(rows[seen], answers(again, stand_in.encoder, prompts, rows[seen])))
    rows, said_by_old = in_order(old)
    same_rows, said_by_new = in_order(new)
    assert (rows == same_rows).all(), "both are asked about the same rows"
    notes = notes_on(known, served, stand_in is not None, len(rows), num_folds)
    return HeldOutAnswers(rows, said_by_old, said_by_new, groups[rows], notes)


class Said(NamedTuple):
    """Rows and what a router says of them."""

    rows: Rows
    answers: Answers

    @classmethod
    def of(cls, rows: Sequence[int]) -> Said:
        return cls(np.array(rows, np.intp), Answers(np.array([], np.str_), np.array([], np.bool_)))


def in_order(said: Sequence[Said]) -> Said:
    """Return several as one, by row."""
    rows = np.concatenate([each.rows for each in said])
    order = np.argsort(rows)
    categories = np.concatenate([each.answers.categories for each in said])[order]
    return Said(rows[order], Answers(categories, np.concatenate([each.answers.is_sure for each in said])[order]))


def answers(artefact: Artefact, encoder: TextEncoder, prompts: Sequence[Prompt], rows: Rows) -> Answers:
    """Return what a router says of some rows."""
    if not len(rows):
        return Said.of([]).answers
    texts = [prompts[row].text for row in rows.tolist()]
    found = score(artefact, encoder.encode(texts), texts)
    categories = np.array(artefact.categories)[found.probabilities.argmax(axis=1)]
    return Answers(categories, artefact.abstain.is_sure(found.confidence))


def known_rows(prompts: Sequence[Prompt], groups: NDArray[np.str_], served: Served) -> Known:
    """Return which rows the served router was trained on, by its record, else by the prompts that it keeps."""
    texts = [prompt.text for prompt in prompts]
    has_all = False
    if served.record is not None:
        digests = [digest_of(text) for text in texts]
        is_trained_on = np.array([digest in served.record.rows for digest in digests], np.bool_)
        has_all = served.record.rows <= set(digests)
    else:
        near = score(served.artefact, served.encoder.encode(texts), texts).nearest.cosines[:, 0]
        is_trained_on = near >= SAME_COSINE
    return Known(is_trained_on, np.isin(groups, groups[is_trained_on]), has_all)


def can_stand_in(
    prompts: Sequence[Prompt], groups: NDArray[np.str_], known: Known, stand_in: Training | None
) -> NDArray[np.bool_]:
    """Return (n,): True where the row can be held out from a stand-in of the served router."""
    if stand_in is None:
        return np.zeros(len(prompts), np.bool_)
    return is_common(prompts, groups, known.is_trained_on, stand_in.least_groups)


def is_common(
    prompts: Sequence[Prompt], groups: NDArray[np.str_], is_counted: NDArray[np.bool_], least: int
) -> NDArray[np.bool_]:
    """Return (n,): True where the row's category has so many distinct prompts that one can be spared."""
    distinct: dict[str, set[str]] = defaultdict(set)
    for prompt, group, counts in zip(prompts, groups.tolist(), is_counted.tolist(), strict=True):
        if counts:
            distinct[prompt.category].add(group)
    return np.array([len(distinct[prompt.category]) >= least for prompt in prompts], np.bool_)


def folds_of(prompts: Sequence[Prompt], groups: NDArray[np.str_], is_judged: NDArray[np.bool_], seed: int) -> Rows:
    """Return (n,) the fold in which each row is held out, -1 for none: whole groups, each category spread evenly."""
    category_of = {group: prompt.category for prompt, group in reversed(list(zip(prompts, groups, strict=True)))}
    judged = np.unique(groups[is_judged])
    drawn = np.random.default_rng(seed).permutation(judged).tolist()
    by_category = sorted(drawn, key=lambda group: category_of[group])  # stable: drawn order within a category
    fold_of = {group: at % NUM_FOLDS for at, group in enumerate(by_category)}
    folds = [fold_of[group] if judge else -1 for group, judge in zip(groups.tolist(), is_judged, strict=True)]
    return np.array(folds, np.intp)


def chosen(prompts: Sequence[Prompt], is_chosen: NDArray[np.bool_]) -> list[Prompt]:
    return [prompts[row] for row in np.flatnonzero(is_chosen).tolist()]


def notes_on(known: Known, served: Served, has_stand_in: bool, num_judged: int, num_folds: int) -> tuple[str, ...]:
    """Return in words how the rows were held out and who answered for the served router."""
    way = "a seeded fifth, once" if num_folds == 1 else f"{num_folds} seeded folds, each in turn"
    notes = [f"{num_judged} rows held out, near-duplicates together: {way}"]
    num_seen = int(known.is_in_sample.sum())
    if served.record is None and num_rows(served.artefact) > len(served.artefact.exemplars):
        notes.append("the served version keeps no record of its rows and not all of them as vectors: it may know more")
    if num_seen and has_stand_in:
        notes.append(f"{num_seen} of the rows are in sample for the served version: a stand-in, trained without them")
    elif num_seen:
        why = "its record is not there" if served.record is None else "not all rows that it was trained on are here"
        notes.append(f"{num_seen} rows left out: in sample for the served version, and {why}")
    return tuple(notes)
