"""Token ids to token states: the network behind an encoder.

Owns its choice: a static table, our forward pass of BERT on a CPU, transformers' modules for everything else and for
GPUs. All give the same: one (tokens, hidden) tensor per text. Knows nothing about pooling, truncation or caching.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from router.encoding.bert import Bert
from router.encoding.sentence_model import STATIC_SOURCE, SentenceConfig
from router.encoding.static_table import find_table

__all__ = ["Backbone", "Network", "load_backbone"]


class Network(Protocol):
    """Token ids to one (tokens, hidden) float32 tensor per text."""

    def states(self, ids: Sequence[Sequence[int]]) -> list[Tensor]: ...


class Backbone(NamedTuple):
    """A network, its tokenizer, and its float32 weights by name: views of a mapped file, to be hashed and let go."""

    network: Network
    tokenize: Callable[[str], list[int]]
    hidden_size: int
    max_tokens: float  # what the network has positions for
    weights: Mapping[str, Tensor]

    @property
    def matmul_shapes(self) -> list[tuple[int, int]]:
        """The (in, out) shapes of the matrices of all layers."""
        layers = {name: weight for name, weight in self.weights.items() if ".layer" in name or ".block" in name}
        return [(weight.shape[1], weight.shape[0]) for weight in layers.values() if weight.ndim == 2]


class Modules:
    """transformers' own modules over a padded batch, on any device."""

    def __init__(self, model: Any, device: torch.device) -> None:
        self._model = model.to(device)
        self._device = device

    @torch.inference_mode()
    def states(self, ids: Sequence[Sequence[int]]) -> list[Tensor]:
        """Return (tokens, hidden) float32 for each text's token ids, without the padding."""
        lengths = torch.tensor([len(row) for row in ids])
        tokens = torch.zeros(len(ids), int(lengths.max()), dtype=torch.long)
        for row, values in enumerate(ids):
            tokens[row, : len(values)] = torch.tensor(values)
        mask = (torch.arange(tokens.shape[1]) < lengths[:, None]).long()  # (batch, tokens)
        padded = self._model(input_ids=tokens.to(self._device), attention_mask=mask.to(self._device)).last_hidden_state
        return [states[:length] for states, length in zip(padded.float(), lengths.tolist(), strict=True)]


def load_backbone(source: str, folder: Path, config: SentenceConfig, device: torch.device) -> Backbone:
    """Load an encoder's network and tokenizer.

    Raises:
        ValueError: transformers cannot read the folder.
    """
    if source == STATIC_SOURCE or config.static_folder is not None:
        table = find_table(folder / (config.static_folder or ""))
        return Backbone(table, table.tokenize, table.hidden_size, math.inf, table.weights)
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        model: Any = AutoModel.from_pretrained(folder, use_safetensors=True, dtype=torch.float32).eval()
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"encoder '{source}': transformers cannot read {folder} ({error})") from error
    weights = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    is_ours = device.type == "cpu" and Bert.covers(model.config)
    network = Bert(weights, model.config) if is_ours else Modules(model, device)
    return Backbone(
        network,
        tokenizing(tokenizer),
        int(model.config.hidden_size),
        min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", math.inf)),
        weights,
    )


def tokenizing(tokenizer: Any) -> Callable[[str], list[int]]:
    """Return text -> ids with special tokens and without truncation; the fast tokenizer itself where there is one.

    `encode_batch_fast` lets other threads run meanwhile, `encode` does not.
    """
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is None:
        return lambda text: list(tokenizer(text, verbose=False)["input_ids"])  # the encoder truncates: no warning
    fast.no_truncation()
    fast.no_padding()
    return lambda text: list(fast.encode_batch_fast([text])[0].ids)
