"""A unit, the smallest piece of weights that is stored, moved, shared or evicted, and the manifest that lists units.

A unit has the weights of one stage of an expert's forward pass: the embedding, a decoder layer, or the final norm with
the head. It is stored as one flat run of bytes and named by the hash of those bytes; which tensor lies where is in the
manifest, so that equal bytes are one unit whatever they are called. Knows nothing about files, memory or torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["ALIGNMENT", "DTYPE_SIZES", "SCALE", "Manifest", "TensorSpec", "Unit"]

ALIGNMENT = 4096  # bytes: O_DIRECT requires it of offsets, lengths and addresses

# safetensors' names, bytes per element
DTYPE_SIZES: Mapping[str, int] = {"F32": 4, "BF16": 2, "F16": 2, "I8": 1}

SCALE = ".scale"  # the suffix that names an int8 tensor's scales, one float32 per row


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Where one tensor lies in its unit. `name` is transformers' parameter name, `dtype` safetensors' name."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int  # bytes from the start of the unit

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * DTYPE_SIZES[self.dtype]


@dataclass(frozen=True, slots=True)
class Unit:
    """The weights of one stage. `size_bytes` is a multiple of ALIGNMENT; zeros pad the tail."""

    name: str  # "embed", "layer.0" … "layer.29", "head"
    hash: str  # BLAKE2b-256 of the padded bytes, in hex
    size_bytes: int
    tensors: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """An imported expert: its units in execution order, and what else running them needs.

    `tied` maps the name of a tensor without bytes of its own to the tensor whose bytes it uses
    (`lm_head.weight` -> `model.embed_tokens.weight`). `tokenizer_dir` holds the tokenizer's files and the chat
    template.
    """

    key: str
    source: str
    dtype: str  # of the matrices; beside int8 ones the norms have the dtype that is computed in
    config: Mapping[str, Any]  # the model's config.json
    generation_config: Mapping[str, Any]
    tokenizer_dir: str
    units: tuple[Unit, ...]
    tied: Mapping[str, str]

    @property
    def size_bytes(self) -> int:
        return sum(unit.size_bytes for unit in self.units)

    @property
    def num_parameters(self) -> int:
        return sum(size for _, size in self._sizes())

    @property
    def num_active_parameters(self) -> int:
        """Parameters that one token uses: of a mixture of experts only as many as its router chooses."""
        share = 1.0
        if chosen := self.config.get("num_experts_per_tok"):
            counts = (self.config.get(key) for key in ("num_local_experts", "num_experts", "n_routed_experts"))
            share = chosen / next((count for count in counts if count), chosen)
        return round(sum(size * (share if ".experts." in name else 1.0) for name, size in self._sizes()))

    def _sizes(self) -> list[tuple[str, int]]:
        """The name and size of every parameter; the scales of int8 tensors are not parameters."""
        specs = (spec for unit in self.units for spec in unit.tensors)
        return [(spec.name, math.prod(spec.shape)) for spec in specs if not spec.name.endswith(SCALE)]
