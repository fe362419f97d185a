"""An encoder that shows how far it is: a bar on stderr, where that is a terminal and there are many texts.

Owns the bar and the pieces in which many texts are encoded, of like length, so that little is padding. Serving does not
use it. Knows nothing about models.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from router.encoding.wrapped_encoder import WrappedEncoder

__all__ = ["ShownEncoder"]

CHUNK = 256  # texts between two steps of the bar; fewer are encoded without one
READ_CHARS = 1_000  # about what an encoder reads of a long text: the bar counts no more of it


class ShownEncoder(WrappedEncoder):
    """The encoder's own vectors; the bar counts characters, because long texts take longer."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (n, dims)."""
        if len(texts) <= CHUNK:
            return self._encoder.encode(texts)
        sizes = [min(len(text), READ_CHARS) for text in texts]
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        vectors = np.empty((len(texts), self.num_dims), np.float32)
        with tqdm(
            total=sum(sizes), desc="encoding", unit="char", unit_scale=True, file=sys.stderr, disable=None
        ) as bar:
            for start in range(0, len(order), CHUNK):
                rows = order[start : start + CHUNK]
                vectors[rows] = self._encoder.encode([texts[row] for row in rows])
                bar.update(sum(sizes[row] for row in rows))
        return vectors
