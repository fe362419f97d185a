"""A unit's flat bytes as the tensors of a Llama layer: views, no copies.

The unit store lays q, k, v and gate, up next to each other, so a fused projection is one view. Knows nothing about
arithmetic.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import torch

from coe.models.llama.shape import TORCH_DTYPES
from coe.models.matmul import Int8, Weight
from coe.weights.unit import DTYPE_SIZES, SCALE, TensorSpec, Unit

__all__ = ["EmbedWeights", "HeadWeights", "LayerWeights", "LlamaWeights", "bind"]


class EmbedWeights(NamedTuple):
    """The first unit: the embedding, (vocab, hidden)."""

    weight: Weight


class LayerWeights(NamedTuple):
    """One decoder layer."""

    input_norm: torch.Tensor
    qkv: Weight  # ((heads + 2 kv heads) * head dim, hidden)
    qkv_bias: torch.Tensor | None
    q_norm: torch.Tensor | None
    k_norm: torch.Tensor | None
    out: Weight
    mlp_norm: torch.Tensor
    gate_up: Weight  # (2 * intermediate, hidden)
    down: Weight
    compiled: object | None = None  # where compiled code finds the same (cpu/decode.py); None for other backends

    @property
    def head_norms(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """The norms of q's and k's heads, where the model has them."""
        return None if self.q_norm is None or self.k_norm is None else (self.q_norm, self.k_norm)


class HeadWeights(NamedTuple):
    """The last unit: the final norm and the LM head, which is None where it is tied to the embedding."""

    norm: torch.Tensor
    lm_head: Weight | None


LlamaWeights = EmbedWeights | LayerWeights | HeadWeights


def bind(unit: Unit, flat: torch.Tensor) -> LlamaWeights:
    """Return the views of one unit over its flat bytes."""
    views = _Views(unit, flat)
    if unit.name == "embed":
        return EmbedWeights(views.weight("embed_tokens.weight"))
    if unit.name == "head":
        return HeadWeights(views.one("norm.weight"), views.maybe_weight("lm_head.weight"))
    return LayerWeights(
        input_norm=views.one("input_layernorm.weight"),
        qkv=views.weight("q_proj.weight", "k_proj.weight", "v_proj.weight"),
        qkv_bias=views.maybe_fused("q_proj.bias", "k_proj.bias", "v_proj.bias"),
        q_norm=views.maybe("self_attn.q_norm.weight"),
        k_norm=views.maybe("self_attn.k_norm.weight"),
        out=views.weight("o_proj.weight"),
        mlp_norm=views.one("post_attention_layernorm.weight"),
        gate_up=views.weight("gate_proj.weight", "up_proj.weight"),
        down=views.weight("down_proj.weight"),
    )


class _Views:
    """Tensors of one unit, found by the end of their names."""

    def __init__(self, unit: Unit, flat: torch.Tensor) -> None:
        self._unit, self._flat = unit, flat

    def one(self, suffix: str) -> torch.Tensor:
        view = self.maybe(suffix)
        assert view is not None, f"unit {self._unit.name} has no {suffix}"
        return view

    def maybe(self, suffix: str) -> torch.Tensor | None:
        spec = self._spec(suffix)
        return None if spec is None else self._view(spec, spec.shape)

    def weight(self, *suffixes: str) -> Weight:
        weight = self.maybe_weight(*suffixes)
        assert weight is not None, f"unit {self._unit.name} has no {suffixes}"
        return weight

    def maybe_weight(self, *suffixes: str) -> Weight | None:
        """Return a matrix, or several adjacent ones as one; with its scales where it is int8."""
        values = self.maybe_fused(*suffixes)
        if values is None or values.dtype is not torch.int8:
            return values
        scales = self.maybe_fused(*(suffix + SCALE for suffix in suffixes))
        assert scales is not None, f"unit {self._unit.name} has no scales of {suffixes}"
        return Int8(values, scales)

    def maybe_fused(self, *suffixes: str) -> torch.Tensor | None:
        specs = [spec for suffix in suffixes if (spec := self._spec(suffix)) is not None]
        if len(specs) < len(suffixes):
            return None
        for left, right in itertools.pairwise(specs):
            assert right.offset == left.offset + left.size_bytes, f"{left.name} and {right.name} are not adjacent"
        return self._view(specs[0], (sum(spec.shape[0] for spec in specs), *specs[0].shape[1:]))

    def _spec(self, suffix: str) -> TensorSpec | None:
        return next((spec for spec in self._unit.tensors if spec.name.endswith(suffix)), None)

    def _view(self, first: TensorSpec, shape: tuple[int, ...]) -> torch.Tensor:
        size_bytes = math.prod(shape) * DTYPE_SIZES[first.dtype]
        return self._flat[first.offset : first.offset + size_bytes].view(TORCH_DTYPES[first.dtype]).view(shape)
