"""A layer's arithmetic on a CPU outside attention, for prompts and mixed steps: float32 activations, any matrices.

`FloatMath` multiplies with float32 and bfloat16 matrices, `Int8Math` with int8 ones. Every token is computed by itself,
so its result does not depend on its neighbours.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from coe.models.cpu.decode import CompiledLayers
from coe.models.cpu.row_ops import RowOps
from coe.models.llama.binding import LayerWeights
from coe.models.llama.rotary import CosSin
from coe.models.llama.shape import LlamaShape
from coe.models.matmul import Int8, Weight, full, matmul, quantised

__all__ = ["Bfloat16Math", "FloatMath", "Int8Math"]

_TILED_ROWS = 128  # times a bfloat16 matrix read as it is; for more it is widened once for MKL


class _RowMath:
    """What both have in common: heads are normalised and rotated by one loop over rows."""

    attention_dtype: torch.dtype | None = None

    def __init__(self, shape: LlamaShape, ops: RowOps) -> None:
        self._shape, self._ops, self._eps = shape, ops, shape.norm_eps

    def rotate_(self, qkv: torch.Tensor, w: LayerWeights, table: CosSin | None) -> None:
        shape = self._shape
        self._ops.rotate_(qkv, shape.num_heads, shape.num_kv_heads, w.head_norms, self._eps, table)


class FloatMath(_RowMath):
    """Float32 activations, float32 or bfloat16 matrices; see `ragged.LayerMath`."""

    def __init__(self, shape: LlamaShape, ops: RowOps, layers: CompiledLayers) -> None:
        super().__init__(shape, ops)
        self._layers = layers

    def qkv(self, hidden: torch.Tensor, w: LayerWeights) -> torch.Tensor:
        return self.matmul(self._norm(hidden, w.input_norm), full(w.qkv), w.qkv_bias).contiguous()

    def rest(self, hidden: torch.Tensor, mixed: torch.Tensor, w: LayerWeights) -> torch.Tensor:
        hidden = hidden + self.matmul(mixed, full(w.out))
        gate, up = self.matmul(self._norm(hidden, w.mlp_norm), full(w.gate_up)).chunk(2, dim=-1)
        return hidden + self.matmul(F.silu(gate) * up, full(w.down))

    def logits(self, hidden: torch.Tensor, norm: torch.Tensor, lm_head: Weight) -> torch.Tensor:
        return self.matmul(self._norm(hidden, norm), full(lm_head))

    def matmul(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """Return x @ weight.T (+ bias) in float32."""
        if weight.dtype is not x.dtype and len(x) <= _TILED_ROWS and self._layers.takes(weight):
            return self._layers.matmul(x, weight, bias)
        return matmul(x, weight, bias)

    def _norm(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return self._ops.normed(x, weight, self._eps)


class Bfloat16Math(FloatMath):
    """FloatMath whose bfloat16 matrices are multiplied with activations rounded to bfloat16, as the processor does
    natively.

    Sums are taken in float32 and rounded to bfloat16 by torch; residuals and norms stay float32.
    """

    attention_dtype = torch.bfloat16

    def rest(self, hidden: torch.Tensor, mixed: torch.Tensor, w: LayerWeights) -> torch.Tensor:
        if full(w.gate_up).dtype is not torch.bfloat16 or full(w.down).dtype is not torch.bfloat16:
            return super().rest(hidden, mixed, w)
        hidden = hidden + self.matmul(mixed, full(w.out))
        gate, up = F.linear(self._norm(hidden, w.mlp_norm).to(torch.bfloat16), full(w.gate_up)).chunk(2, dim=-1)
        return hidden + F.linear(F.silu(gate) * up, full(w.down))

    def matmul(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        if weight.dtype is not torch.bfloat16:
            return super().matmul(x, weight, bias)
        out = F.linear(x.to(torch.bfloat16), weight).float()
        return out if bias is None else out.add_(bias)


class Int8Math(_RowMath):
    """Int8 matrices, activations quantised per token, exact int32 sums; see `ragged.LayerMath`."""

    def qkv(self, hidden: torch.Tensor, w: LayerWeights) -> torch.Tensor:
        ops = self._ops
        return ops.matmul(ops.quantised_norm(hidden, w.input_norm, self._eps), quantised(w.qkv), w.qkv_bias)

    def rest(self, hidden: torch.Tensor, mixed: torch.Tensor, w: LayerWeights) -> torch.Tensor:
        ops = self._ops
        hidden, rows = ops.add_matmul_and_norm(hidden, ops.quantised(mixed), quantised(w.out), w.mlp_norm, self._eps)
        return ops.add_two_digits(hidden, ops.quantised_gate(rows, quantised(w.gate_up)), quantised(w.down))

    def logits(self, hidden: torch.Tensor, norm: torch.Tensor, lm_head: Weight) -> torch.Tensor:
        assert isinstance(lm_head, Int8)
        return self._ops.matmul(self._ops.quantised(self._ops.normed(hidden, norm, self._eps)), lm_head)
