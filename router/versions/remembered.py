"""An encoder that encodes each text once in its life: a retraining fits the same rows several times.

Owns the vectors in memory, without a bound: those of the rows that are trained on. Knows nothing about training.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from router.encoding.text_encoder import TextEncoder
from router.encoding.wrapped_encoder import WrappedEncoder

__all__ = ["RememberedEncoder"]


class RememberedEncoder(WrappedEncoder):
    """An encoder, and the vector of every text that it was asked for."""

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__(encoder)
        self._vectors: dict[str, NDArray[np.float32]] = {}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (n, dims); encodes with one call the texts that are new."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if missing:
            self._vectors |= zip(missing, self._encoder.encode(missing), strict=True)
        if not texts:
            return np.zeros((0, self.num_dims), np.float32)
        return np.stack([self._vectors[text] for text in texts])
