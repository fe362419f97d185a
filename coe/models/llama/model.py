"""What all backends of Llama's shape share behind the Model seam: binding, KV, the rotary table.

A backend adds how a forward pass is computed: `torch_llama.py` by torch's operators, `cpu/compiled_llama.py` by
compiled CPU code, `cuda/cuda_llama.py` with paged KV and captured steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from coe.models.cuda.paged_kv import PagedKv, PagedStore
from coe.models.kv import ContiguousStore, KvShape, SequenceKv
from coe.models.llama.binding import LlamaWeights, bind
from coe.models.llama.rotary import RotaryTable
from coe.models.llama.shape import LlamaShape
from coe.models.model import ForwardPass, Row
from coe.weights.unit import Unit

__all__ = ["LlamaModel", "kv_shape_of"]


def kv_shape_of(shape: LlamaShape, device: torch.device) -> KvShape:
    """Return what keys and values of this shape take on a device."""
    return KvShape(shape.num_layers, shape.num_kv_heads, shape.head_dim, shape.dtype, device)


class LlamaModel:
    """Runs any expert of one Llama shape; holds no weights, only the rotary table and its sequences' KV store."""

    backend = "llama"
    runs_by_unit = True
    copies_kv = True

    def __init__(
        self,
        shape: LlamaShape,
        config: Mapping[str, Any],
        device: torch.device,
        kv: ContiguousStore | PagedStore | None = None,
    ) -> None:
        self.shape = shape
        self.device = device
        self.kv = ContiguousStore(kv_shape_of(shape, device)) if kv is None else kv
        self.rotary = RotaryTable(config, shape.max_positions, shape.dtype, device)

    def new_pass(self, rows: Sequence[Row], is_whole: bool) -> ForwardPass:
        """Return the forward pass of these rows in this backend's arithmetic; see `Model.begin`."""
        raise NotImplementedError

    # -- the Model seam

    def bind(self, unit: Unit, flat: torch.Tensor) -> LlamaWeights:
        return bind(unit, flat)

    def kv_bytes(self, num_tokens: int) -> int:
        return self.kv.size_bytes(num_tokens)

    def new_kv(self, num_tokens: int) -> SequenceKv | PagedKv:
        return self.kv.new(num_tokens)

    def copy_kv(self, kv: Any, num_tokens: int, room: int) -> SequenceKv | PagedKv:
        return self.kv.copy(kv, num_tokens, room)

    def begin(self, rows: Sequence[Row], *, is_whole: bool = False) -> ForwardPass:
        return self.new_pass(rows, is_whole)

    def close(self) -> None:
        """Do nothing: a model holds nothing beyond the process's own memory unless its backend says so."""

    def check_integrity(self) -> None:
        """Do nothing, as `close`."""
