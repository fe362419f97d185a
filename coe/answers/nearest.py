"""The kept prompt that is nearest to another: by the cosine of the encoder's vectors, where their marks agree.

Owns the measure: a text's vectors are of its whole, its beginning and its end, and two texts are as near as the least
of their cosines. Knows nothing about answers and whose they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coe.answers.guards import marks_of

__all__ = ["Near", "cosines", "nearest"]


class Near(NamedTuple):
    """The place of a candidate, and how near it is."""

    at: int
    cosine: float


def cosines(vectors: Sequence[bytes], candidates: Sequence[Sequence[bytes]]) -> NDArray[np.float32]:
    """Return (n,): how near each of n texts is, from unit vectors in float32."""
    least: NDArray[np.float32] = np.ones(len(candidates), np.float32)
    for part, vector in enumerate(vectors):
        rows = np.frombuffer(b"".join(each[part] for each in candidates), np.float32).reshape(len(candidates), -1)
        np.minimum(least, rows @ np.frombuffer(vector, np.float32), out=least)
    return least


def nearest(
    text: str, vectors: Sequence[bytes], texts: Sequence[str], candidates: Sequence[Sequence[bytes]], threshold: float
) -> Near | None:
    """Return the nearest candidate that is as near as the threshold and whose marks are those of `text`."""
    if not candidates:
        return None
    near, marks = cosines(vectors, candidates), marks_of(text)
    for at in np.argsort(-near, kind="stable").tolist():
        if not near[at] >= threshold:  # nor for a vector that is no number
            return None
        if marks_of(texts[at]) == marks:
            return Near(at, float(near[at]))
    return None
