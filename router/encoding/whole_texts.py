"""Whole texts to vectors, for clients that ask for embeddings: the encoder's network without the router's use of it.

A text is one vector, as the model's makers meant it: no ends of its own, nothing left out of the middle, up to what the
model takes and not up to what the router reads. Owns tokens, prompts and pooling of such texts. Knows nothing about
clients.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from router.encoding.backbone import Backbone
from router.encoding.pooling import pooled
from router.encoding.sentence_model import SentenceConfig

__all__ = ["WholeTexts"]

NAMES = {"query": ("query",), "document": ("document", "passage", "corpus")}  # as sentence-transformers looks them up


class WholeTexts:
    """`name` is what clients call it; `max_tokens` may be infinite. One thread may use it at a time."""

    def __init__(self, source: str, backbone: Backbone, config: SentenceConfig) -> None:
        self.name = Path(source).name
        self.num_dims = backbone.hidden_size
        self.num_rows = backbone.num_rows
        self.max_tokens = min(backbone.max_tokens, config.longest or backbone.max_tokens)
        self._backbone, self._config = backbone, config
        empty, one = (backbone.tokenize(text) for text in ("", "a"))
        self.num_last = num_equal(empty[::-1], one[::-1])  # special tokens that end every text

    def token_ids(self, text: str, kind: Literal["query", "document"] | None = None) -> list[int]:
        """Return a text's tokens, special ones and its kind's prompt included: the model's default without a kind."""
        prompts = self._config.prompts
        prompt = next((prompts[name] for name in NAMES[kind] if name in prompts), "") if kind else self._config.prompt
        text = text.encode("utf-8", "replace").decode()  # lone surrogates
        text = text.lower() if self._config.is_lower_case else text
        return self._backbone.tokenize(prompt + text)

    def embed(self, ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Return (texts, num_dims), each row of length 1, each text by itself; one without a token is near no other."""
        vectors = np.zeros((len(ids), self.num_dims), np.float32)
        for row, token_ids in enumerate(ids):
            if token_ids:
                ((states,),) = self._backbone.network.states([[token_ids]])
                vectors[row] = pooled(states, self._config.pooling).cpu().numpy()
        return vectors


def num_equal(a: Sequence[int], b: Sequence[int]) -> int:
    """Return how many leading values are equal."""
    return next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
