"""An encoder in front of a folder of float16 vectors, for training and evaluation: each text is encoded once, ever.

Owns the files, one per encoder, rewritten whole. Serving does not use it: vector_memory.py is enough there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from router.encoding.shown_encoder import ShownEncoder
from router.encoding.text_encoder import TextEncoder
from router.encoding.wrapped_encoder import WrappedEncoder

__all__ = ["CachedEncoder", "load_encoder"]

CHUNK = 1024  # texts between two writes


class CachedEncoder(WrappedEncoder):
    """The encoder's vectors, rounded to float16, from the folder where they are stored already."""

    def __init__(self, encoder: TextEncoder, folder: Path) -> None:
        super().__init__(encoder)
        self._path = folder / f"{encoder.id}.safetensors"
        self._keys: list[bytes] = []
        self._rows = np.zeros((0, encoder.num_dims), np.float16)
        if self._path.is_file():
            stored = stored_in(self._path)
            self._keys = [key.tobytes() for key in stored["keys"]]
            self._rows = stored["rows"]
        self._index = {key: row for row, key in enumerate(self._keys)}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (n, dims); encodes and stores the texts that are not there yet."""
        keys = [hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest() for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._index}
        pending = list(missing.items())
        for start in range(0, len(pending), CHUNK):
            self._add(pending[start : start + CHUNK])
        return self._rows[[self._index[key] for key in keys]].astype(np.float32)

    def _add(self, pairs: list[tuple[bytes, str]]) -> None:
        rows = self._encoder.encode([text for _, text in pairs]).astype(np.float16)
        for key, _ in pairs:
            self._index[key] = len(self._keys)
            self._keys.append(key)
        self._rows = np.vstack([self._rows, rows])
        self._path.parent.mkdir(parents=True, exist_ok=True)
        stored = np.frombuffer(b"".join(self._keys), np.uint8).reshape(len(self._keys), -1)
        partial = self._path.with_suffix(".partial")
        save_file({"keys": stored, "rows": self._rows}, partial)
        partial.replace(self._path)


def load_encoder(source: str, device: str = "cpu", cache: Path | None = None) -> TextEncoder:
    """Return an encoder, behind a folder of vectors where one is given."""
    from router.encoding.encoder import Encoder  # torch

    encoder = ShownEncoder(Encoder(source, device=device))
    return CachedEncoder(encoder, cache) if cache else encoder


def stored_in(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file that CachedEncoder wrote; raises ValueError for any other."""
    try:
        stored = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: not a cache of vectors ({error}); remove it") from error
    if set(stored) != {"keys", "rows"} or len(stored["keys"]) != len(stored["rows"]):
        raise ValueError(f"{path}: not a cache of vectors (it holds {', '.join(stored) or 'nothing'}); remove it")
    return dict(stored)
