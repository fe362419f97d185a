"""Described categories put beside a trained router, when a server starts.

Owns what they are told apart from: general prompts, authored prompts of those trained categories that have an expert,
and what the trained router says of a prompt. Knows nothing about configurations.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from router.encoding.text_encoder import TextEncoder
from router.labelled.descriptions import check_examples
from router.labelled.prompts import Prompt
from router.model.artefact import Artefact
from router.model.described import DescribedCategories
from router.training.own.described import GENERAL
from router.training.own.general_class import FAMILY
from router.training.train import train

__all__ = ["with_described"]

RELATED = 0.1  # of a trained category's probability on a description or on the mean of the examples
UNSERVED = 0.35
NUM_OF_CATEGORY = 40  # authored prompts of a trained category that has an expert


def with_described(
    trained: Artefact,
    descriptions: Mapping[str, str],
    examples: Sequence[Prompt],
    served: Collection[str],
    encoder: TextEncoder,
) -> Artefact:
    """Return the trained router with categories of `descriptions`, category -> sentence, beside its own.

    `examples` are labelled with described categories, or with `general`. `served` are the trained categories that have
    an expert: what belongs to them is not described by anybody else, while other trained categories give way.

    Raises:
        ValueError: an example of a category that nobody describes.
    """
    check_examples(examples, descriptions)
    others = prompts_of(trained, {category for category in served if category not in descriptions})
    own = train(
        examples,
        encoder,
        descriptions=descriptions,
        follow_up=trained.follow_up,
        others=others,
        looks_for_warnings=False,  # a server that starts shows none
    )
    names = tuple(dict.fromkeys((*trained.categories, *descriptions)))
    told = [category for category in own.categories if category != GENERAL]
    described = DescribedCategories(
        own.model,
        own.temperature,
        own.categories.index(GENERAL),
        np.array([names.index(category) for category in told], np.intp),
        objections(trained, told, descriptions, examples, served, encoder),
        len(names),
    )
    return replace(trained, categories=names, described=described)


def objections(
    trained: Artefact,
    categories: Sequence[str],
    descriptions: Mapping[str, str],
    examples: Sequence[Prompt],
    served: Collection[str],
    encoder: TextEncoder,
) -> NDArray[np.float64]:
    """Return (described, trained): how much a trained category counts against a described one.

    Not at all where the trained router reads the described category's own texts so, and where it is `general`; less
    where no expert has it.
    """
    found = np.zeros((len(categories), len(trained.categories)))
    weights = [1.0 if name in served else UNSERVED for name in trained.categories]
    for place, category in enumerate(categories):
        texts = [descriptions[category], *(prompt.text for prompt in examples if prompt.category == category)]
        logits = trained.model.logits(encoder.encode(texts), texts)
        read = softmax(logits / trained.temperature, axis=1)
        found[place] = np.where(np.maximum(read[0], read.mean(axis=0)) < RELATED, weights, 0.0)
    found[:, [name == GENERAL for name in trained.categories]] = 0.0
    return found


def prompts_of(trained: Artefact, served: Collection[str]) -> list[Prompt]:
    """Return authored prompts of served categories, which the trained router holds, as general ones."""
    found: list[Prompt] = []
    for category in sorted(served):
        texts = [each.text for each in trained.exemplars if each.category == category and each.text]
        found += [Prompt(text, GENERAL, source=FAMILY, family=FAMILY) for text in texts[:NUM_OF_CATEGORY]]
    return found
