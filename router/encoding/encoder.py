"""Prompts to vectors: a sentence encoder from a wheel, a local folder or a hub id.

Owns cleaning, truncation and pooling; vector_memory.py remembers. Deterministic: alone and in a batch agree within
1e-5. Covered: any text (lone surrogates become U+FFFD; of a long text the beginning and the end are read), BERT-like
and other transformers, static tables, the pooling and the prompt that a sentence-transformers folder asks for. Not
covered: encoders that have code or further layers of their own. Knows nothing about categories.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from router.encoding.backbone import load_backbone
from router.encoding.openvino_bert import is_installed
from router.encoding.pooling import pooled
from router.encoding.sentence_model import DEFAULT_SOURCE, SentenceConfig, find_folder, sentence_config
from router.encoding.text_ends import WAY_OF_CUTTING, ends_of
from router.encoding.whole_texts import WholeTexts

__all__ = ["DEFAULT_SOURCE", "Encoder"]

MAX_CHARS = 8_000  # what is tokenised of a longer text: its first and last halves of this
END_TOKENS = 64  # what is read of a text's first and of its last paragraph
NUM_SEGMENTS = 3  # whole, first paragraph, last paragraph

log = logging.getLogger("coe.router")
Vectors = NDArray[np.float32]
Ids = tuple[int, ...]


class Pieces(NamedTuple):
    """Token ids of a text, of its beginning and of its end, which are those of the text where it is short."""

    whole: Ids
    head: Ids
    tail: Ids

    @property
    def distinct(self) -> tuple[Ids, ...]:
        """What has to be encoded: each piece once, none without a token."""
        return tuple(piece for piece in dict.fromkeys(self) if piece)

    @property
    def num_tokens(self) -> int:
        """Tokens that have to be encoded."""
        return sum(map(len, self.distinct))


class Encoder:
    """A sentence encoder: normalised embeddings of the whole text, its beginning and its end.

    A vector is three embeddings in a row, (whole, beginning, end), each of length 1. Beginning and end are encoded by
    themselves (text_ends.py); of a short text all three are one. `id` names the weights and how they are used: a
    trained router must find both again. It does not name the arithmetic, which is what the processor is fastest at:
    docs/decisions/routing.md says how little that moves. `matmul_shapes` are the (in, out) shapes of the matrices that
    every token goes through; a static table has none.
    """

    def __init__(
        self,
        source: str = DEFAULT_SOURCE,
        *,
        device: str = "cpu",
        batch_size: int = 32,
    ) -> None:
        torch_device = checked_device(device)
        folder = find_folder(source)
        self.source = source
        self.batch_size = batch_size
        self._config = sentence_config(source, folder)
        backbone = load_backbone(source, folder, self._config, torch_device)
        self.id = f"{Path(source).name}-{identity(backbone.weights, self._config)[:16]}"
        self.matmul_shapes = backbone.matmul_shapes
        self._backbone = backbone._replace(weights={})  # the network has a copy in the form that it computes with
        self._max_tokens = int(min(self._config.max_tokens, self._backbone.max_tokens))
        self.num_dims = NUM_SEGMENTS * self._backbone.hidden_size
        log.info("encoder %s arithmetic=%s device=%s", self.id, self.arithmetic, torch_device)
        if is_slow(source, torch_device):
            log.warning("encoder runs by torch, three times slower: pip install 'coe-serve[cpu]' brings OpenVINO")

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return (len(texts), num_dims) float32, one row per text."""
        return self._encode([clean(text) for text in texts])

    def num_tokens(self, text: str) -> int:
        """Return how many tokens a text has, special tokens and the model's prompt included."""
        return len(self._all_token_ids(clean(text)))

    def num_tokens_read(self, text: str) -> int:
        """Return how many tokens of a text the network sees."""
        return len(self._token_ids(clean(text)))

    def whole_texts(self) -> WholeTexts:
        """Return what embeds whole texts by themselves, on a thread of its own beside this encoder's."""
        network = self._backbone.network.for_another_thread()
        return WholeTexts(self.source, self._backbone._replace(network=network), self._config)

    @property
    def arithmetic(self) -> str:
        """The arithmetic of the matrix products: "float32", "bfloat16" or "int8"."""
        return self._backbone.network.arithmetic

    def _encode(self, texts: list[str]) -> Vectors:
        """Encode every distinct text once, in batches of like length."""
        pieces = [self._pieces(text) for text in texts]
        order = sorted(dict.fromkeys(pieces), key=lambda each: each.num_tokens)
        found: dict[Pieces, Vectors] = {}
        for start in range(0, len(order), self.batch_size):
            found |= self._embedded(order[start : start + self.batch_size])
        rows = [found[each] for each in pieces]
        return np.stack(rows) if rows else np.zeros((0, self.num_dims), np.float32)

    def _pieces(self, text: str) -> Pieces:
        """Return the token ids of the whole text and of its ends."""
        whole, ends = self._token_ids(text), ends_of(text)
        if ends.head == ends.tail:
            return Pieces(whole, whole, whole)
        head, tail = self._all_token_ids(ends.head), self._all_token_ids(ends.tail)
        return Pieces(whole, tuple(head[:END_TOKENS]), tuple(tail[-END_TOKENS:]))

    def _embedded(self, texts: list[Pieces]) -> dict[Pieces, Vectors]:
        """Return (num_dims,) of each text, of its pieces each of length 1; one without a token is near no other."""
        read = [each.distinct for each in texts]
        states = self._backbone.network.states([pieces for pieces in read if pieces])
        ids = [piece for pieces in read for piece in pieces]
        vectors = [pooled(rows, self._config.pooling).cpu().numpy() for text in states for rows in text]
        of_piece = dict(zip(ids, vectors, strict=True)) | {(): np.zeros(self._backbone.hidden_size, np.float32)}
        return {each: np.concatenate([of_piece[piece] for piece in each]) for each in texts}

    def _token_ids(self, text: str) -> Ids:
        """Return at most max_tokens ids, special tokens included: of a long text its beginning and its end."""
        most, ids = self._max_tokens, self._all_token_ids(text)
        return tuple(ids if len(ids) <= most else ids[: most - most // 2] + ids[-(most // 2) :])

    def _all_token_ids(self, text: str) -> list[int]:
        return self._backbone.tokenize(self._config.prompt + (text.lower() if self._config.is_lower_case else text))


def is_slow(source: str, device: torch.device) -> bool:
    """Whether this CPU could run the default encoder faster if OpenVINO were installed."""
    return source == DEFAULT_SOURCE and device.type == "cpu" and not is_installed()


def clean(text: str) -> str:
    """Return text that a tokenizer accepts: lone surrogates replaced, the middle of a very long one left out."""
    if len(text) > MAX_CHARS:
        text = text[: MAX_CHARS // 2] + " " + text[-MAX_CHARS // 2 :]
    return text.encode("utf-8", "replace").decode()


def identity(weights: Mapping[str, Tensor], config: SentenceConfig) -> str:
    """Return the SHA-256 of all weights by name and of their use, the same on every machine."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().view(torch.uint8).numpy().data)
    digest.update(use_of(config).encode())
    return digest.hexdigest()


def use_of(config: SentenceConfig) -> str:
    """Return how weights are used, in words that trained artefacts' encoder ids depend on: never change them."""
    return (
        f"pooling={config.pooling!r}, prompt={config.prompt!r}, max_tokens={config.max_tokens!r}, "
        f"is_lower_case={config.is_lower_case!r}, static_folder={config.static_folder!r}, "
        f"end_tokens={END_TOKENS}, ends={WAY_OF_CUTTING}"
    )


def checked_device(device: str) -> torch.device:
    """Return torch's device of that name; raises ValueError for one that is not there."""
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"encoder device '{device}': torch knows no such device; write cpu or cuda") from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"encoder device '{device}': torch sees no CUDA device; write cpu")
    return found
