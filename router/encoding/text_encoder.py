"""The seam between texts and vectors: what every encoder offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["TextEncoder"]


class TextEncoder(Protocol):
    """Texts to vectors. `id` names weights and use; `source` is what to load to have the same encoder again."""

    @property
    def id(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def num_dims(self) -> int: ...
    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (len(texts), num_dims), one row per text."""
        ...
