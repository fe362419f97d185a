"""The seam to the encoder that routes prompts: it embeds clients' texts too, on a thread of its own.

Owns when it is loaded: where the router sorts prompts it is there, elsewhere the first request loads it. Knows nothing
about how the router uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from coe.embedding.requests import TextKind

__all__ = ["Embedder", "LateEmbedder"]


class Embedder(Protocol):
    """Whole texts to vectors. One thread may use it at a time; the same text gives the same vector in any company."""

    @property
    def num_dims(self) -> int: ...
    @property
    def num_rows(self) -> int:
        """Token ids are below it."""
        ...

    @property
    def max_tokens(self) -> float:
        """The longest text in tokens; may be infinite."""
        ...

    @property
    def num_last(self) -> int:
        """How many special tokens end every text."""
        ...

    def token_ids(self, text: str, kind: TextKind | None = None) -> list[int]:
        """Return a text's tokens with special ones and the prompt of its kind, or the default one."""
        ...

    def embed(self, ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Return (texts, num_dims) of length 1."""
        ...


class LateEmbedder:
    """An embedder that `load` makes at its first use; `names` are all that clients may call it, its own first."""

    def __init__(self, names: Sequence[str], load: Callable[[], Embedder]) -> None:
        self.names, self._load = tuple(names), load
        self._loaded: Embedder | None = None

    @property
    def name(self) -> str:
        return self.names[0]

    def get(self) -> Embedder:
        """Return it; on the embedding thread alone."""
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded
