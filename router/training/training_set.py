"""A training set: labelled prompts with all that a model may see of them, so that folds need not encode or count again.

Owns the rows, the numbering of categories, and which rows are near-duplicates or of one family. Knows nothing about
models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from router.encoding.text_encoder import TextEncoder
from router.labelled.duplicates import groups_of
from router.labelled.prompts import Prompt
from router.model.tf_idf import TermCounts, count_terms
from router.training.own.described import Descriptions, described_text

__all__ = ["TrainingSet"]


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Rows: prompt, vector, term counts, label (a number into `categories`), family, near-duplicate group.

    `described` is what the categories say of themselves.
    """

    prompts: tuple[Prompt, ...]
    vectors: NDArray[np.float32]  # (rows, dims)
    term_counts: TermCounts
    categories: tuple[str, ...]
    labels: NDArray[np.intp]  # (rows,)
    families: NDArray[np.str_]  # (rows,)
    groups: NDArray[np.str_]  # (rows,)
    described: Descriptions

    @classmethod
    def of(cls, prompts: Sequence[Prompt], encoder: TextEncoder, sentences: Mapping[str, str] | None = None) -> Self:
        """Encode and count these prompts, and the descriptions of their categories.

        `sentences` is category -> description, perhaps not of all; a category that it names needs no prompt.
        """
        texts, told = [prompt.text for prompt in prompts], sentences or {}
        categories = sorted({prompt.category for prompt in prompts} | set(told))
        counted = count_terms([*texts, *(described_text(category, told) for category in categories)])
        rows, of_categories = np.arange(len(texts)), np.arange(len(texts), len(texts) + len(categories))
        return cls(
            tuple(prompts),
            encoder.encode(texts),
            counted.take(rows),
            tuple(categories),
            np.array([categories.index(prompt.category) for prompt in prompts], np.intp),
            np.array([prompt.family for prompt in prompts]),
            np.array(groups_of(texts)),
            Descriptions.of(categories, told, encoder, counted.take(of_categories)),
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
            self.described,
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
