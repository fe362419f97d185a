"""BERT's forward pass on a CPU, one text at a time: the architecture of MiniLM, BGE, GTE and E5 in their small sizes.

Owns fused q/k/v, attention without padding, and the choice of 8-bit integers where the processor has instructions for
them. Token states equal transformers' in float32 within 1e-5. One text at a time costs nothing on a CPU, where a
hundred tokens keep the arithmetic busy, and makes a vector independent of its batch by construction. Knows nothing
about tokenizers or pooling.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from router.encoding.int8 import Int8Linear, is_fast_here

__all__ = ["Bert"]

Linear = Callable[[Tensor], Tensor]


class Norm(NamedTuple):
    """Layer normalisation: weight and bias, each (hidden,)."""

    weight: Tensor
    bias: Tensor
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.epsilon)


class Layer(NamedTuple):
    """One encoder layer."""

    qkv: Linear
    attention_out: Linear
    attention_norm: Norm
    up: Linear
    down: Linear
    out_norm: Norm


class Bert:
    """A BERT encoder, from the weights and the configuration of transformers' `BertModel`; it copies what it keeps."""

    def __init__(self, weights: Mapping[str, Tensor], config: Any, *, is_int8: bool | None = None) -> None:
        self.is_int8 = is_fast_here() if is_int8 is None else is_int8
        self._num_heads = int(config.num_attention_heads)
        self._token_embeddings = weights["embeddings.word_embeddings.weight"].clone()
        first_type = weights["embeddings.token_type_embeddings.weight"][0]
        self._positions = weights["embeddings.position_embeddings.weight"] + first_type
        epsilon = float(config.layer_norm_eps)
        self._norm = norm_of(weights, "embeddings.LayerNorm", epsilon)
        prefixes = [f"encoder.layer.{number}." for number in range(config.num_hidden_layers)]
        self._layers = [layer_of(weights, prefix, epsilon, is_int8=self.is_int8) for prefix in prefixes]

    @staticmethod
    def covers(config: Any) -> bool:
        """Return whether this is the plain encoder: absolute positions, exact GELU."""
        if config.model_type != "bert" or config.is_decoder or config.hidden_act != "gelu":
            return False
        return getattr(config, "position_embedding_type", "absolute") == "absolute"

    @torch.inference_mode()
    def states(self, ids: Sequence[Sequence[int]]) -> list[Tensor]:
        """Return (tokens, hidden) float32 for each text's token ids."""
        return [self._forward(torch.tensor(row)) for row in ids]

    def _forward(self, ids: Tensor) -> Tensor:
        x = self._norm(self._token_embeddings[ids] + self._positions[: len(ids)])
        for layer in self._layers:
            x = layer.attention_norm(x + layer.attention_out(self._attend(layer.qkv(x))))
            x = layer.out_norm(x + layer.down(F.gelu(layer.up(x))))
        return x

    def _attend(self, qkv: Tensor) -> Tensor:
        """Return (tokens, hidden) from the fused (tokens, 3 * hidden) projection."""
        heads = qkv.view(1, len(qkv), 3, self._num_heads, -1).permute(2, 0, 3, 1, 4)  # (3, 1, heads, tokens, dim)
        mixed = F.scaled_dot_product_attention(heads[0], heads[1], heads[2])
        return mixed[0].transpose(0, 1).reshape(len(qkv), -1)


def layer_of(weights: Mapping[str, Tensor], prefix: str, epsilon: float, *, is_int8: bool) -> Layer:
    """Return a layer; q, k and v become one matrix product."""

    def make(*names: str) -> Linear:
        weight = torch.cat([weights[f"{prefix}{name}.weight"] for name in names])
        bias = torch.cat([weights[f"{prefix}{name}.bias"] for name in names])
        return Int8Linear(weight, bias) if is_int8 else partial(F.linear, weight=weight, bias=bias)

    return Layer(
        make("attention.self.query", "attention.self.key", "attention.self.value"),
        make("attention.output.dense"),
        norm_of(weights, f"{prefix}attention.output.LayerNorm", epsilon),
        make("intermediate.dense"),
        make("output.dense"),
        norm_of(weights, f"{prefix}output.LayerNorm", epsilon),
    )


def norm_of(weights: Mapping[str, Tensor], name: str, epsilon: float) -> Norm:
    return Norm(weights[f"{name}.weight"].clone(), weights[f"{name}.bias"].clone(), epsilon)
