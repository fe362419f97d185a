"""Warnings about a training: what in a table of one's own makes a router, or its figures, worse than they look.

Owns what is looked for and how it is said; each names the category, the number and the remedy. Looked for: prompts that
are forms of few templates, tiny and dwarfed categories, categories that the threshold silences, and pairs that are
hardly told apart. Not looked for: near-duplicates with different labels, which the report on balance has. Changes
nothing about the model. Knows nothing about files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from router.labelled.duplicates import wording
from router.model.abstain import AbstainRule
from router.training.out_of_fold import Calibration, CrossValidated, OutOfFold, is_labelled
from router.training.training_set import TrainingSet

__all__ = ["Templates", "templates_in", "warnings_about"]

MIN_JUDGED = 10  # prompts of a category that a share is computed of
MIN_PROMPTS = 20  # of a category that can consist of templates
TEMPLATED_SHARE = 0.5
MIN_FORMS, FORMS_SHARE = 5, 0.02  # of a category's prompts, the fewest that make a template
COMMON_SHARES = (
    0.03,
    0.1,
    0.25,
)  # of a category's prompts have a word that belongs to a template, else it fills a slot:
# few templates whose slots take few values show at the largest, many templates at the smallest
MIN_FIXED_WORDS, FIXED_SHARE = 3, 0.4  # of a text's words; "A) … B) … C) …" with a question before it is no template
FEWEST_DISTINCT = 5
DWARFED = 20  # times as many distinct prompts in the largest category
SILENCED_SHARE = 0.2
HIGH_CONFIDENCE = 0.9
CONFUSED_SHARE = 0.3
SLOT = "_"


class Templates(NamedTuple):
    """How many of some prompts are forms of templates, and of how many."""

    num_forms: int
    num_templates: int


def warnings_about(
    rows: TrainingSet, scores: CrossValidated, calibration: Calibration, sentences: Mapping[str, str]
) -> list[str]:
    """Return what a user should know, worst first; nothing for sound data.

    `sentences` is category -> description. Rows that the recipe added are not looked at.
    """
    return [
        *about_templates(rows),
        *about_sizes(rows, sentences),
        *about_silence(rows, scores.by_family, calibration),
        *about_confusions(rows, scores.by_group),
    ]


def about_templates(rows: TrainingSet) -> Iterator[str]:
    """Yield a line for each category of which half or more are forms of few templates."""
    for category, chosen in own_rows(rows).items():
        found = templates_in([rows.prompts[row].text for row in chosen], rows.groups[chosen].tolist())
        if len(chosen) >= MIN_PROMPTS and found.num_forms >= TEMPLATED_SHARE * len(chosen):
            templates = "one template" if found.num_templates == 1 else f"{found.num_templates} templates"
            yield (
                f"category '{category}': {found.num_forms} of {len(chosen)} prompts are forms of {templates}; its "
                "figures are too good, and prompts of another form may go elsewhere; add prompts as people write them"
            )


def templates_in(texts: Sequence[str], groups: Sequence[str]) -> Templates:
    """Return how many of a category's texts are forms of how many templates.

    Forms of one template are near-duplicates (`groups`), or have the same skeleton: the words that are common in the
    category, in order, with a slot for each run of others.
    """
    worded = [wording(text).split(" ") for text in texts]
    found = [templates_of(worded, groups, max(MIN_FORMS, share * len(texts))) for share in COMMON_SHARES]
    return max(found, key=lambda each: (each.num_forms, -each.num_templates))


def templates_of(worded: Sequence[Sequence[str]], groups: Sequence[str], least: float) -> Templates:
    """Return the templates whose words stand in `least` texts; `worded` are the texts' words."""
    firsts = {group: row for row, group in reversed(list(enumerate(groups)))}
    common = Counter(word for words in worded for word in set(words))
    skeletons = {group: skeleton(worded[row], common, least) for group, row in firsts.items()}
    sizes = Counter(skeletons[group] for group in groups)
    found = [size for size in sizes.values() if size >= max(MIN_FORMS, FORMS_SHARE * len(worded))]
    return Templates(sum(found), len(found))


def skeleton(words: Sequence[str], common: Mapping[str, int], least: float) -> tuple[str, ...]:
    """Return the words that stand in `least` texts, a slot for each run of others; all words where those are few."""
    kept = [word if common[word] >= least else SLOT for word in words]
    if len(kept) - kept.count(SLOT) < max(MIN_FIXED_WORDS, FIXED_SHARE * len(words)):
        return tuple(words)
    return tuple(word for at, word in enumerate(kept) if word != SLOT or at == 0 or kept[at - 1] != SLOT)


def about_sizes(rows: TrainingSet, sentences: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each category that is tiny, or that another one dwarfs; near-duplicates count once."""
    distinct = {category: len(set(rows.groups[chosen].tolist())) for category, chosen in own_rows(rows).items()}
    largest = max(distinct, key=distinct.__getitem__, default="")
    for category, number in distinct.items():
        if number < FEWEST_DISTINCT and category not in sentences:
            yield (
                f"category '{category}': {number} distinct prompts and no description; add prompts, {FEWEST_DISTINCT} "
                "or more, or a sentence with --descriptions"
            )
        elif DWARFED * number < distinct[largest]:
            yield (
                f"category '{category}': {number} distinct prompts, and '{largest}' has {distinct[largest]}, more than "
                f"{DWARFED} times as many; add prompts of '{category}'"
            )


def about_silence(rows: TrainingSet, held_out: OutOfFold, calibration: Calibration) -> Iterator[str]:
    """Yield a line for a threshold that is too high, and for each category of which too many prompts abstain."""
    rule = calibration.rule
    if rule.min_confidence >= HIGH_CONFIDENCE:
        yield (
            f"the threshold is {rule.min_confidence:.3f}: nearly every prompt that is not like the training prompts "
            "will go to the general expert; lower --abstain-target, or set min_confidence in [router]"
        )
    if not len(held_out.rows):
        return
    labels, is_sure = rows.labels[held_out.rows], sure(rows, held_out, calibration.temperature, rule)
    for number, category in enumerate(rows.categories):
        own = is_sure[labels == number]
        num_silent = int((~own).sum())
        if len(own) >= MIN_JUDGED and num_silent > SILENCED_SHARE * len(own):
            yield (
                f"category '{category}': {num_silent} of {len(own)} held-out prompts are below the threshold of "
                f"{rule.min_confidence:.3f} and would go to the general expert; add prompts or a description, or lower "
                "--abstain-target"
            )


def sure(rows: TrainingSet, held_out: OutOfFold, temperature: float, rule: AbstainRule) -> NDArray[np.bool_]:
    texts = [rows.prompts[row].text for row in held_out.rows.tolist()]
    return rule.is_sure(rule.confidence(softmax(held_out.logits / temperature, axis=1), texts))


def about_confusions(rows: TrainingSet, held_out: OutOfFold) -> Iterator[str]:
    """Yield a line for each pair of categories that are often taken for each other, both ways."""
    if not len(held_out.rows):
        return
    labels, guesses, num = rows.labels[held_out.rows], held_out.logits.argmax(axis=1), len(rows.categories)
    counts = np.bincount(labels * num + guesses, minlength=num * num).reshape(num, num)
    totals = counts.sum(axis=1, keepdims=True)
    is_often = (totals >= MIN_JUDGED) & (counts >= CONFUSED_SHARE * totals)
    for one, other in np.argwhere(np.triu(is_often & is_often.T, k=1)).tolist():
        first, second = rows.categories[one], rows.categories[other]
        yield (
            f"categories '{first}' and '{second}' are hardly told apart: {counts[one, other]} of {totals[one, 0]} "
            f"prompts of '{first}' are taken for '{second}', {counts[other, one]} of {totals[other, 0]} the other way; "
            "merge them, or describe what sets them apart with --descriptions"
        )


def own_rows(rows: TrainingSet) -> dict[str, NDArray[np.intp]]:
    """Return the rows of each category that people labelled, of those categories that have one."""
    is_own = is_labelled(rows)
    found = {category: np.flatnonzero(is_own & (rows.labels == at)) for at, category in enumerate(rows.categories)}
    return {category: chosen for category, chosen in found.items() if len(chosen)}
