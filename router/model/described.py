"""Categories that a configuration describes, beside those of a trained router.

Owns how both make one distribution: the described ones come first, as far as the trained router does not see something
else, and it shares out the rest. A category that both have gets both shares. Knows nothing about fitting and experts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from router.model.category_model import CategoryModel

__all__ = ["DescribedCategories"]

Floats = NDArray[np.floating]
Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class DescribedCategories:
    """A model of described categories and `general`, and the numbers of its and the trained router's in the union.

    `objection` (described, trained), 0 … 1, is how much it counts against a described category that the trained router
    reads a prompt as one of its own.
    """

    model: CategoryModel
    temperature: float
    general: int  # the model's own number of the class of everything else
    places: Places  # (described,) of the model's other categories, in their order
    objection: Floats  # (described, trained)
    num_categories: int  # the trained router's come first

    def joined(self, trained: Floats, vectors: Floats, texts: Sequence[str]) -> Floats:
        """Return (n, categories) probabilities of the union, from (n, trained) ones of the trained router."""
        own = softmax(self.model.logits(vectors, texts) / self.temperature, axis=1)
        against = trained @ self.objection.T
        shares = np.delete(own, self.general, axis=1) * (1 - against)
        joined = np.zeros((len(own), self.num_categories))
        joined[:, : trained.shape[1]] = trained * (1 - shares.sum(axis=1, keepdims=True))
        joined[:, self.places] += shares
        return joined
