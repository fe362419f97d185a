"""Vectors by the router's encoder: on the thread for embeddings, in pieces between which others have their turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from coe.embedding.embedder import Embedder
from coe.embedding.requests import Text, TextKind
from coe.embedding.token_limits import TokenLimits
from coe.routing import TextWorker

__all__ = ["PIECE_TEXTS", "PIECE_TOKENS", "EncoderVectors", "pieces"]

PIECE_TEXTS = 16  # that are tokenised or run before others have their turn
PIECE_TOKENS = 1024


class EncoderVectors:
    """One encoder, called `name`; see `embeddings.VectorSource`."""

    def __init__(self, name: str, embedder: Embedder, worker: TextWorker) -> None:
        self.name, self.num_dims = name, embedder.num_dims
        self._embedder, self._worker = embedder, worker
        self._limits = TokenLimits(name, embedder.max_tokens, embedder.num_rows, embedder.num_last)

    async def token_ids(
        self, texts: Sequence[Text], kind: TextKind | None, truncate_to: int | None, param: str
    ) -> list[tuple[int, ...]]:
        def read(some: Sequence[Text]) -> list[tuple[int, ...]]:
            tokens = self._embedder.token_ids
            return [self._limits.read(text, lambda each: tokens(each, kind), truncate_to, param) for text in some]

        return [
            ids
            for start in range(0, len(texts), PIECE_TEXTS)
            for ids in await self._worker.run_embedding(read, texts[start : start + PIECE_TEXTS])
        ]

    async def vectors(self, ids: Sequence[tuple[int, ...]]) -> NDArray[np.float32]:
        return np.concatenate([await self._worker.run_embedding(self._embedder.embed, piece) for piece in pieces(ids)])


def pieces(ids: Sequence[tuple[int, ...]]) -> Iterator[Sequence[tuple[int, ...]]]:
    """Yield runs of texts of about PIECE_TOKENS tokens, at least one text each."""
    start = size = 0
    for at, each in enumerate(ids):
        if at > start and (size + len(each) > PIECE_TOKENS or at - start == PIECE_TEXTS):
            yield ids[start:at]
            start, size = at, 0
        size += len(each)
    yield ids[start:]
