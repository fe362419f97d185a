"""Vectors around a centre.

Sentence encoders put all texts into a narrow cone; around its middle they differ by what they say. Owns the arithmetic.
Knows nothing about what the vectors are of.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["around"]

Floats = NDArray[np.floating]


def around(vectors: Floats, centre: Floats) -> Floats:
    """Return (n, dims) vectors' distances from a centre, made 1 long; from a (segments, hidden) one each segment's."""
    apart = vectors.reshape(len(vectors), *centre.shape) - centre
    length = np.maximum(np.linalg.norm(apart, axis=-1, keepdims=True), 1e-9)
    found: Floats = (apart / length).reshape(vectors.shape)
    return found
