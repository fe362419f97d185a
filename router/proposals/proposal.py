"""A proposal: categories of unlabelled prompts, and for each the expert that fits it best.

Owns the order of work: near-duplicates once, vectors without their languages, clusters, terms, the
expert nearest to each, names. Knows nothing about files or how a proposal is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from router.encoding.text_encoder import TextEncoder
from router.labelled.duplicates import groups_of
from router.labelled.licence import may_be_quoted
from router.labelled.prompts import Prompt
from router.model.centre import around
from router.proposals.catalogue import Catalogue
from router.proposals.clusters import FOLDED, clustered, folded
from router.proposals.language_axes import Frame, language_axes
from router.proposals.terms import terms_of
from router.training.exemplars import whole
from router.training.own.described import GENERAL

__all__ = ["Category", "Proposal", "proposed"]

NUM_EXAMPLES = 3
EXAMPLE_CHARS = 80
LEAST_FIT = 0.2  # a cosine below this: no expert; docs/routing.md says how often that is right
Floats = NDArray[np.floating]
Labels = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Category:
    """A proposed category. `expert` is None where no expert of the catalogue fits: its prompts go to the general one.

    `nearest` is the expert that fits best, chosen or not, `fit` its cosine, `margin` how far that is from the next best
    expert or from LEAST_FIT, whichever would change the proposal. Near-duplicates are counted once in `num_prompts` and
    `share`.
    """

    name: str
    expert: str | None
    nearest: str
    fit: float
    margin: float
    num_prompts: int
    share: float
    terms: tuple[str, ...]
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Proposal:
    """Categories, largest first; `assigned` has each prompt's category, `general` where it is in none."""

    categories: tuple[Category, ...]
    assigned: tuple[str, ...]  # (prompts,)
    num_distinct: int
    folded_share: float  # of distinct prompts, in clusters that were too small
    unused: tuple[str, ...]  # experts that no category goes to


class Found(NamedTuple):
    """What is known of n distinct prompts before anything is named."""

    prompts: list[Prompt]
    labels: Labels  # (n,) clusters, FOLDED for none
    vectors: Floats  # (n, hidden) without their languages, each 1 long
    fits: Floats  # (clusters, experts)


def proposed(
    catalogue: Catalogue, prompts: Sequence[Prompt], encoder: TextEncoder, num_categories: int | None = None
) -> Proposal:
    """Return the categories of these prompts, `num_categories` of them or as many as the silhouette says.

    Raises:
        ValueError: too few distinct prompts.
    """
    keys = groups_of([prompt.text for prompt in prompts])
    place = {key: row for row, key in enumerate(dict.fromkeys(keys))}
    first = {key: row for row, key in reversed(list(enumerate(keys)))}
    chosen = [prompts[first[key]] for key in place]
    encoded = whole(encoder.encode([prompt.text for prompt in chosen]))
    frame = Frame(encoded.mean(axis=0), language_axes(encoder))
    vectors = frame.seen(encoded)
    labels = folded(clustered(vectors, num_categories))
    fits = fits_of(catalogue, vectors, labels, frame, encoder)
    categories = categories_of(Found(chosen, labels, vectors, fits), [entry.name for entry in catalogue.candidates])
    used = {category.expert for category in categories}
    in_order = [*(category.name for category in categories), GENERAL]  # FOLDED, -1, is the last
    return Proposal(
        tuple(categories),
        tuple(in_order[labels[place[key]]] for key in keys),
        len(chosen),
        float((labels == FOLDED).mean()),
        tuple(entry.name for entry in catalogue.candidates if entry.name not in used),
    )


def fits_of(catalogue: Catalogue, vectors: Floats, labels: Labels, frame: Frame, encoder: TextEncoder) -> Floats:
    """Return (clusters, experts) cosines of a cluster's middle and what the expert says of itself.

    Both around the prompts' mean and without their languages.
    """
    sentences = [entry.sentence for entry in catalogue.candidates]
    told = frame.seen(whole(encoder.encode(sentences)))
    middles = np.stack([vectors[labels == number].mean(axis=0) for number in range(int(labels.max()) + 1)])
    found: Floats = around(middles, np.zeros(middles.shape[1])) @ told.T
    return found


def categories_of(found: Found, names: Sequence[str]) -> list[Category]:
    """Return the categories, one for each cluster; `names` are the experts'."""
    all_terms = terms_of([prompt.text for prompt in found.prompts], found.labels)
    nearest = [names[column] for column in found.fits.argmax(axis=1).tolist()]
    experts = [name if row.max() >= LEAST_FIT else None for name, row in zip(nearest, found.fits, strict=True)]
    taken: set[str] = {GENERAL}
    categories = []
    for number, expert in enumerate(experts):
        rows, terms = np.flatnonzero(found.labels == number), tuple(all_terms[number])
        name = unused_name(name_of(expert, terms, experts.count(expert) == 1), taken)
        fit, margin = surety(found.fits[number])
        share = len(rows) / len(found.prompts)
        shown_rows = examples(found, rows)
        categories.append(Category(name, expert, nearest[number], fit, margin, len(rows), share, terms, shown_rows))
    return categories


def surety(fits: Floats) -> tuple[float, float]:
    """Return the best of one cluster's (experts,) fits, and how far it is from another decision."""
    ordered = np.sort(fits)
    best, second = float(ordered[-1]), float(ordered[-2]) if len(ordered) > 1 else LEAST_FIT
    return best, best - max(second, LEAST_FIT) if best >= LEAST_FIT else LEAST_FIT - best


def name_of(expert: str | None, terms: Sequence[str], alone: bool) -> str:
    """Return the expert's name where the category is its only one, else that and terms, or terms alone."""
    words = ["_".join(term.split()) for term in terms]
    if expert is None:
        return "_".join(words[:2]) or "unnamed"
    return expert if alone else "_".join([expert, *words[:1]])


def unused_name(name: str, taken: set[str]) -> str:
    """Return the name, with a number where it is taken, and take it."""
    free = next(each for each in (name, *(f"{name}_{number}" for number in range(2, 1000))) if each not in taken)
    taken.add(free)
    return free


def examples(found: Found, rows: Labels) -> tuple[str, ...]:
    """Return the beginnings of the prompts nearest to the middle; the id of one that may not be quoted."""
    vectors = found.vectors[rows]
    nearest = rows[np.argsort(-(vectors @ vectors.mean(axis=0)), kind="stable")[:NUM_EXAMPLES]]
    return tuple(shown(found.prompts[row]) for row in nearest.tolist())


def shown(prompt: Prompt) -> str:
    return " ".join(prompt.text.split())[:EXAMPLE_CHARS] if may_be_quoted(prompt) else prompt.id
