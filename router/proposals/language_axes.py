"""Language axes: the directions in which an encoder's vectors differ by language alone.

Owns finding them, on authored prompts of the same categories in seventeen languages (the means of the languages, less
their own mean, span them), and taking them out of other vectors, so that what is left is grouped by topic. Needs no
language detection and helps in languages that are not among the seventeen. Knows nothing about clusters.
"""

from __future__ import annotations

import random
from collections import defaultdict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from router.encoding.text_encoder import TextEncoder
from router.labelled.authored import LANGUAGES, prompts_by_language, text_files
from router.model.centre import around
from router.training.exemplars import whole

__all__ = ["Frame", "language_axes"]

Floats = NDArray[np.floating]
NUM_PER_CELL = 2  # prompts of a language and category
SEED = 0
LEAST = 1e-6  # a singular value below this spans nothing


def language_axes(encoder: TextEncoder) -> Floats:
    """Return (axes, hidden) orthonormal rows: one axis fewer than languages, or less for a small encoder."""
    chance = random.Random(SEED)
    texts, languages = [], []
    for file in text_files(LANGUAGES):
        cells: dict[str, list[str]] = defaultdict(list)
        for prompt in prompts_by_language(file):
            cells[prompt.category].append(prompt.text)
        chosen = [text for cell in cells.values() for text in chance.sample(cell, min(NUM_PER_CELL, len(cell)))]
        texts += chosen
        languages += [file.stem] * len(chosen)
    vectors, labels = whole(encoder.encode(texts)), np.array(languages)
    means = np.stack([vectors[labels == language].mean(axis=0) for language in sorted(set(languages))])
    _, sizes, axes = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)
    num_axes = min(int((sizes > LEAST).sum()), len(means) - 1, vectors.shape[1] // 8)  # topics need room, too
    found: Floats = axes[:num_axes]
    return found


class Frame(NamedTuple):
    """How vectors are looked at: around a centre, and without what differs by language alone."""

    centre: Floats  # (hidden,)
    axes: Floats  # (axes, hidden), orthonormal

    def seen(self, vectors: Floats) -> Floats:
        """Return (n, hidden) vectors, each 1 long, with nothing along the axes."""
        apart = vectors - self.centre
        return around(apart - (apart @ self.axes.T) @ self.axes, np.zeros(apart.shape[1]))
