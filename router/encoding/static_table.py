"""Static embeddings: one vector per token, without context; a lookup instead of a network.

Owns reading a table and its tokenizer, from the wordllama wheel or from a sentence-transformers StaticEmbedding module.
Some fifty times faster than MiniLM, and worse at telling topics apart. Knows nothing about pooling.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

__all__ = ["StaticTable", "find_table"]

WORDLLAMA = ("weights/l2_supercat_256.safetensors", "tokenizers/l2_supercat_tokenizer_config.json")
STATIC_EMBEDDING = ("model.safetensors", "tokenizer.json")
TABLE_NAMES = ("embedding.weight", "embeddings")


class StaticTable:
    """Token ids to rows of a (vocabulary, hidden) table."""

    arithmetic = "float32"

    def __init__(self, weights: Path, tokenizer: Path) -> None:
        stored = load_file(weights)
        name = next((name for name in TABLE_NAMES if name in stored), None)
        if name is None:
            raise ValueError(f"{weights}: no table there; it should be called {' or '.join(TABLE_NAMES)}")
        self._table = stored[name].float()
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    @property
    def hidden_size(self) -> int:
        return int(self._table.shape[1])

    @property
    def num_rows(self) -> int:
        return int(self._table.shape[0])

    @property
    def weights(self) -> dict[str, Tensor]:
        """The table by name; the name is part of the encoder's id."""
        return {"table": self._table}

    def tokenize(self, text: str) -> list[int]:
        """Return token ids without special tokens, which a static table gives no meaning."""
        ids: list[int] = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids
        return ids

    def states(self, texts: Sequence[Sequence[Sequence[int]]]) -> list[list[Tensor]]:
        """Return (tokens, hidden) float32 for the token ids of each piece of each text."""
        return [[self._table[torch.tensor(piece, dtype=torch.long)] for piece in pieces] for pieces in texts]

    def for_another_thread(self) -> StaticTable:
        """Return itself: a look-up keeps nothing."""
        return self


def find_table(folder: Path) -> StaticTable:
    """Return the table in a wordllama or a StaticEmbedding folder.

    Raises:
        FileNotFoundError: there is no table.
    """
    for names in (WORDLLAMA, STATIC_EMBEDDING):
        weights, tokenizer = (folder / name for name in names)
        if weights.is_file() and tokenizer.is_file():
            return StaticTable(weights, tokenizer)
    raise FileNotFoundError(f"{folder}: no static embeddings there; they are {' and '.join(STATIC_EMBEDDING)}")
