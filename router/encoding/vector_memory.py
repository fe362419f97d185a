"""Vectors of texts that were encoded lately, so that a conversation's earlier turns need not be encoded again.

Bounded, least recently used first. A text is remembered for whoever sent it: what it saves would tell others what was
asked. Knows nothing about how texts are encoded.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from router.encoding.text_encoder import TextEncoder

__all__ = ["OwnedText", "VectorMemory"]


class OwnedText(NamedTuple):
    """A text, and who sent it."""

    text: str
    owner: str = ""


class VectorMemory:
    """An encoder and what it encoded lately. One thread may use it at a time."""

    def __init__(self, encoder: TextEncoder, max_texts: int = 4096) -> None:
        self._encoder = encoder
        self._max_texts = max_texts
        self._vectors: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._vectors)

    def encode(self, texts: Sequence[OwnedText]) -> NDArray[np.float32]:
        """Return (len(texts), num_dims), one row per text, with one encoder call for all that are not remembered."""
        keys = [key_of(text) for text in texts]
        known = {key: self._vectors[key] for key in keys if key in self._vectors}
        missing = {key: owned.text for key, owned in zip(keys, texts, strict=True) if key not in known}
        encoded = self._encoder.encode(list(missing.values())) if missing else ()
        rows = known | dict(zip(missing, encoded, strict=True))
        self._remember(rows)
        return np.stack([rows[key] for key in keys]) if keys else np.zeros((0, self._encoder.num_dims), np.float32)

    def _remember(self, rows: dict[bytes, NDArray[np.float32]]) -> None:
        for key, row in rows.items():
            self._vectors[key] = row
            self._vectors.move_to_end(key)
        while len(self._vectors) > self._max_texts:
            self._vectors.popitem(last=False)


def key_of(owned: OwnedText) -> bytes:
    """Return a hash of owner and text; the length in it keeps them apart."""
    whole = f"{len(owned.owner)} {owned.owner}{owned.text}"
    return hashlib.blake2b(whole.encode("utf-8", "replace"), digest_size=16).digest()
