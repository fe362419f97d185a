"""A training set: labelled prompts with all that a model may see of them, so that folds need not encode or count again.

Owns the rows, the numbering of categories, and which rows are near-duplicates or of one family. Knows nothing about
models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from router.encoding.text_encoder import TextEncoder
from router.labelled.duplicates import groups_of
from router.labelled.prompts import Prompt
from router.model.tf_idf import TermCounts, count_terms

__all__ = ["TrainingSet"]


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Rows: prompt, vector, term counts, label (a number into `categories`), family, near-duplicate group."""

    prompts: tuple[Prompt, ...]
    vectors: NDArray[np.float32]  # (rows, dims)
    term_counts: TermCounts
    categories: tuple[str, ...]
    labels: NDArray[np.intp]  # (rows,)
    families: NDArray[np.str_]  # (rows,)
    groups: NDArray[np.str_]  # (rows,)

    @classmethod
    def of(cls, prompts: Sequence[Prompt], encoder: TextEncoder) -> Self:
        """Encode and count these prompts."""
        texts = [prompt.text for prompt in prompts]
        categories, labels = np.unique([prompt.category for prompt in prompts], return_inverse=True)
        return cls(
            tuple(prompts),
            encoder.encode(texts),
            count_terms(texts),
            tuple(categories.tolist()),
            labels,
            np.array([prompt.family for prompt in prompts]),
            np.array(groups_of(texts)),
        )

    def take(self, rows: NDArray[np.intp]) -> TrainingSet:
        """Return some rows; categories and terms keep their numbers."""
        return TrainingSet(
            tuple(self.prompts[row] for row in rows.tolist()),
            self.vectors[rows],
            self.term_counts.take(rows),
            self.categories,
            self.labels[rows],
            self.families[rows],
            self.groups[rows],
        )

    @property
    def is_separable(self) -> NDArray[np.bool_]:
        """(rows,) True where the row's family can be held out: it has one category, which has another family, too."""
        pairs = np.unique(np.stack([self.labels.astype(str), self.families], axis=1), axis=0)
        categories_of, families_of = Counter(pairs[:, 1].tolist()), Counter(pairs[:, 0].tolist())
        has_one_category = np.array([categories_of[family] == 1 for family in self.families.tolist()])
        found: NDArray[np.bool_] = has_one_category & np.array([families_of[str(label)] > 1 for label in self.labels])
        return found

    @property
    def family_groups(self) -> NDArray[np.str_]:
        """(rows,) the family where it can be held out, else the near-duplicate group."""
        return np.where(self.is_separable, np.char.add("family ", self.families), self.groups)
