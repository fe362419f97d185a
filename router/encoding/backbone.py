"""Token ids to token states: the network behind an encoder.

Owns its choice: a static table, OpenVINO for a BERT on a CPU, transformers' modules for everything else and for GPUs.
All give the same: one (tokens, hidden) tensor per piece of a text. Knows nothing about pooling, truncation or caching.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel

from router.encoding.openvino_bert import BertShape, OpenVinoBert, Rows, is_installed
from router.encoding.packed_e5 import PackedE5, read_packed_e5
from router.encoding.sentence_model import E5_SOURCE, STATIC_SOURCE, SentenceConfig
from router.encoding.static_table import find_table

__all__ = ["Backbone", "Network", "load_backbone"]

WORD_VECTORS = "embeddings.word_embeddings.weight"
BATCH_SIZE = 32  # pieces that transformers' modules take at once
POOLER = "pooler."  # BertModel's own head, which sentence encoders do not use: many folders lack its weights


class Network(Protocol):
    """Token ids of texts in pieces, none empty, to one (tokens, hidden) float32 tensor per piece.

    A piece does not see the others. `arithmetic` is that of the matrix products.
    """

    @property
    def arithmetic(self) -> str: ...
    def states(self, texts: Sequence[Sequence[Sequence[int]]]) -> list[list[Tensor]]: ...
    def for_another_thread(self) -> Network:
        """Return the same network for use beside this one, one text after another."""
        ...


class Backbone(NamedTuple):
    """A network, its tokenizer, and its weights by name: views of a mapped file, to be hashed and let go."""

    network: Network
    tokenize: Callable[[str], list[int]]
    hidden_size: int
    num_rows: int  # of the vocabulary
    max_tokens: float  # what the network has positions for
    weights: Mapping[str, Tensor]
    matmul_shapes: list[tuple[int, int]]  # (in, out) of the matrices of all layers


class Modules:
    """transformers' own modules over padded batches of pieces of like length, on any device.

    `word_rows`, where it is given, stands in for the model's own table of word vectors.
    """

    arithmetic = "float32"

    def __init__(self, model: Any, device: torch.device, word_rows: Rows | None = None) -> None:
        self._model = model.to(device)
        self._device = device
        self._word_rows = word_rows

    def states(self, texts: Sequence[Sequence[Sequence[int]]]) -> list[list[Tensor]]:
        """Return (tokens, hidden) float32 for the token ids of each piece of each text."""
        distinct = sorted({tuple(piece) for pieces in texts for piece in pieces}, key=len)
        found: dict[tuple[int, ...], Tensor] = {}
        for start in range(0, len(distinct), BATCH_SIZE):
            batch = distinct[start : start + BATCH_SIZE]
            found |= zip(batch, self._padded(batch), strict=True)
        return [[found[tuple(piece)] for piece in pieces] for pieces in texts]

    @torch.inference_mode()
    def _padded(self, ids: Sequence[Sequence[int]]) -> list[Tensor]:
        """Return (tokens, hidden) float32 for each row of ids, without the padding."""
        lengths = torch.tensor([len(row) for row in ids])
        mask = (torch.arange(int(lengths.max())) < lengths[:, None]).long()  # (batch, tokens)
        padded = self._model(**self._inputs(ids), attention_mask=mask.to(self._device)).last_hidden_state
        return [states[:length] for states, length in zip(padded.float(), lengths.tolist(), strict=True)]

    def for_another_thread(self) -> Network:
        return self  # torch's modules keep nothing between two passes

    def _inputs(self, ids: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """Return what the model reads: padded ids, or the padded word vectors of ids."""
        if self._word_rows is None:
            rows = [torch.tensor(row, dtype=torch.long) for row in ids]
            return {"input_ids": torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(self._device)}
        vectors = [torch.from_numpy(self._word_rows(row)) for row in ids]
        return {"inputs_embeds": torch.nn.utils.rnn.pad_sequence(vectors, batch_first=True).to(self._device)}


def load_backbone(source: str, folder: Path, config: SentenceConfig, device: torch.device) -> Backbone:
    """Load an encoder's network and tokenizer.

    Raises:
        ValueError: transformers cannot read the folder, or it lacks weights.
    """
    if source == E5_SOURCE:
        return packed_backbone(read_packed_e5(folder / "e5-small-q4.bin"), device)
    if source == STATIC_SOURCE or config.static_folder is not None:
        table = find_table(folder / (config.static_folder or ""))
        return Backbone(table, table.tokenize, table.hidden_size, table.num_rows, math.inf, table.weights, [])
    tokenizer, model = loaded(source, folder)
    weights = {name: tensor.detach() for name, tensor in model.state_dict().items() if not name.startswith(POOLER)}
    return Backbone(
        network_of(model, weights, device),
        tokenizing(tokenizer),
        int(model.config.hidden_size),
        int(model.config.vocab_size),
        min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", math.inf)),
        weights,
        matmul_shapes_of(weights),
    )


def loaded(source: str, folder: Path) -> tuple[Any, Any]:
    """Return a folder's tokenizer and model.

    Raises:
        ValueError: transformers cannot read the folder, or weights are missing: it would make them up at random.
    """
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        model, info = AutoModel.from_pretrained(
            folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"encoder '{source}': transformers cannot read {folder} ({error})") from error
    if missing := sorted(name for name in info["missing_keys"] if not name.startswith(POOLER)):
        raise ValueError(f"encoder '{source}': {folder} lacks {len(missing)} weights, {missing[0]} among them")
    return tokenizer, model.eval()


def network_of(model: Any, weights: Mapping[str, Tensor], device: torch.device) -> Network:
    """Return OpenVINO's network for a BERT on a CPU, else the modules."""
    if not (runs_by_openvino(device) and is_plain_bert(model.config)):
        return Modules(model, device)
    arrays = {name: tensor.numpy() for name, tensor in weights.items()}
    table = arrays[WORD_VECTORS].copy()  # the file may go
    return OpenVinoBert(arrays, shape_of(model.config), lambda ids: table[list(ids)])


def packed_backbone(packed: PackedE5, device: torch.device) -> Backbone:
    """Return E5's network, whose word vectors stay packed."""
    sizes = packed.sizes
    weights = {name: torch.from_numpy(array) for name, array in packed.weights.items()}
    config = BertConfig(
        vocab_size=1,  # word vectors come from outside
        hidden_size=sizes.hidden,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=sizes.inner,
        max_position_embeddings=sizes.positions,
        type_vocab_size=sizes.types,
        layer_norm_eps=sizes.epsilon,
    )
    network: Network
    if runs_by_openvino(device):
        network = OpenVinoBert(packed.weights, shape_of(config), packed.word_rows)
    else:
        model = BertModel(config, add_pooling_layer=False).eval()
        model.load_state_dict(weights | {WORD_VECTORS: torch.zeros(1, sizes.hidden)})
        network = Modules(model, device, packed.word_rows)
    file = {"file": torch.from_numpy(packed.content)}
    shapes = matmul_shapes_of(weights)
    return Backbone(network, packed.tokenize, sizes.hidden, sizes.vocabulary, sizes.positions, file, shapes)


def runs_by_openvino(device: torch.device) -> bool:
    """Return whether a BERT on this device is OpenVINO's."""
    return device.type == "cpu" and is_installed()


def is_plain_bert(config: Any) -> bool:
    """Return whether this is the plain encoder: absolute positions, exact GELU."""
    if config.model_type != "bert" or config.is_decoder or config.hidden_act != "gelu":
        return False
    return getattr(config, "position_embedding_type", "absolute") == "absolute"


def shape_of(config: Any) -> BertShape:
    return BertShape(config.num_attention_heads, config.num_hidden_layers, float(config.layer_norm_eps))


def matmul_shapes_of(weights: Mapping[str, Tensor]) -> list[tuple[int, int]]:
    layers = [weight for name, weight in weights.items() if ".layer" in name or ".block" in name]
    return [(weight.shape[1], weight.shape[0]) for weight in layers if weight.ndim == 2]


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
