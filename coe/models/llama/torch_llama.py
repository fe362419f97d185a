"""The backend of Llama's shape that runs everywhere: torch's operators, in any floating dtype, on any device.

Source: Touvron et al., arXiv 2302.13971, as transformers' `modeling_llama.py` computes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from coe.models.cuda.paged_kv import PagedStore
from coe.models.kv import ContiguousStore
from coe.models.llama.binding import LayerWeights
from coe.models.llama.model import LlamaModel
from coe.models.llama.ragged import RaggedBatch, RaggedPass
from coe.models.llama.rotary import CosSin, rotate
from coe.models.llama.shape import LlamaShape
from coe.models.matmul import Weight, full, matmul, num_inputs
from coe.models.model import ForwardPass, Row

__all__ = ["TorchLlama", "TorchMath", "dtype_name", "rms_norm"]

_NAMES = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}


def dtype_name(dtype: torch.dtype) -> str:
    """Return a dtype's name in a backend's."""
    return _NAMES[dtype]


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """RMSNorm over the last dimension, computed in float32 (Zhang & Sennrich, arXiv 1910.07467)."""
    if x.dtype is torch.float32:
        return F.rms_norm(x, (x.shape[-1],), weight, eps)
    # transformers normalises in float32 and multiplies by the weight in the model's dtype
    return weight * F.rms_norm(x.float(), (x.shape[-1],), None, eps).to(x.dtype)


class TorchMath:
    """A layer's arithmetic by torch's operators; see `ragged.LayerMath`."""

    attention_dtype: torch.dtype | None = None

    def __init__(self, shape: LlamaShape) -> None:
        self._shape = shape

    def qkv(self, hidden: torch.Tensor, w: LayerWeights) -> torch.Tensor:
        return matmul(self._norm(hidden, w.input_norm), full(w.qkv), w.qkv_bias).contiguous()

    def rotate_(self, qkv: torch.Tensor, w: LayerWeights, table: CosSin | None) -> None:
        q, k, _ = qkv.split((self._shape.num_heads, self._shape.num_kv_heads, self._shape.num_kv_heads), dim=1)
        for part, norm in ((q, w.q_norm), (k, w.k_norm)):
            normed = part if norm is None else self._norm(part, norm)
            part.copy_(normed if table is None else rotate(normed, table))

    def rest(self, hidden: torch.Tensor, mixed: torch.Tensor, w: LayerWeights) -> torch.Tensor:
        hidden = hidden + matmul(mixed, full(w.out))
        gate, up = matmul(self._norm(hidden, w.mlp_norm), full(w.gate_up)).chunk(2, dim=-1)
        return hidden + matmul(F.silu(gate) * up, full(w.down))

    def logits(self, hidden: torch.Tensor, norm: torch.Tensor, lm_head: Weight) -> torch.Tensor:
        return matmul(self._norm(hidden, norm), full(lm_head))

    def _norm(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return rms_norm(x, weight, self._shape.norm_eps)


class TorchLlama(LlamaModel):
    """Llama's shape by torch's operators."""

    def __init__(
        self,
        shape: LlamaShape,
        config: Mapping[str, Any],
        device: torch.device,
        kv: ContiguousStore | PagedStore | None = None,
    ) -> None:
        super().__init__(shape, config, device, kv)
        self.backend = f"llama/torch/{dtype_name(shape.dtype)}"
        self._math = TorchMath(shape)

    def new_pass(self, rows: Sequence[Row], is_whole: bool) -> ForwardPass:  # noqa: ARG002
        return RaggedPass(RaggedBatch.of(rows, self.shape, self.rotary, self.device), self.shape, self._math)

    def matmuls(self, weights: Sequence[Any]) -> None:
        """Compute the matmuls of one decode step and nothing else, for benchmarks that compare the rest with them."""
        embed, *layers, head = weights
        matrices = [matrix for w in layers for matrix in (w.qkv, w.out, w.gate_up, w.down)]
        for matrix in (*matrices, embed.weight if head.lm_head is None else head.lm_head):
            matmul(torch.zeros(1, num_inputs(matrix), dtype=self.shape.dtype, device=self.device), full(matrix))
