"""Row operations on tensors: norms and rotary embedding of float32 rows, and int8 matmuls fused with their neighbours.

Calls the compiled loops of `row_kernels.py`; needs numba (the extra `cpu`). With int8 weights every token is
quantised by itself and int32 sums are exact, so a token's result never depends on the others in its batch. Knows
nothing about models.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from coe.models.matmul import Int8, int8_matmul

__all__ = ["RowOps", "Rows"]


class Rows(NamedTuple):
    """Quantised activations: values int8 (rows, size), or (2 rows, size) in two digits; scales float32 (rows,)."""

    values: torch.Tensor
    scales: torch.Tensor


class RowOps:
    """The loops with tensors for addresses. Rows are float32 and contiguous; results are new unless said otherwise."""

    def __init__(self) -> None:
        from coe.models.cpu import row_kernels as kernels

        self._run: Any = kernels

    # -- what every dtype of weights needs

    def normed(self, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        """RMSNorm over the last dimension."""
        x, out = x.contiguous(), torch.empty(x.shape)
        size = x.shape[-1]
        self._run.rms_norm(x.data_ptr(), weight.data_ptr(), eps, x.numel() // size, size, out.data_ptr())
        return out

    def rotate_(
        self,
        qkv: torch.Tensor,
        num_heads: int,
        num_kv_heads: int,
        norms: tuple[torch.Tensor, torch.Tensor] | None,
        eps: float,
        table: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> None:
        """In place on (rows, heads + 2 kv heads, dim): norms of q's and k's heads, then rotary embedding."""
        rows, width, dim = qkv.shape
        q_norm, k_norm = (0, 0) if norms is None else (norm.data_ptr() for norm in norms)
        cos, sin = (0, 0) if table is None else (each.data_ptr() for each in table)
        heads = (num_heads, num_kv_heads, dim)
        self._run.rotate(qkv.data_ptr(), rows, width * dim, *heads, q_norm, k_norm, eps, cos, sin)

    # -- int8 weights

    def quantised(self, x: torch.Tensor) -> Rows:
        x = x.contiguous()
        rows = _rows(*x.shape)
        self._run.quantise(x.data_ptr(), *x.shape, *_at(rows))
        return rows

    def quantised_norm(self, x: torch.Tensor, weight: torch.Tensor, eps: float) -> Rows:
        """`quantised` of `normed`."""
        rows = _rows(*x.shape)
        self._run.norm_quantise(x.data_ptr(), weight.data_ptr(), eps, *x.shape, *_at(rows))
        return rows

    def matmul(self, rows: Rows, weight: Int8, bias: torch.Tensor | None = None) -> torch.Tensor:
        """rows @ weight.T (+ bias)."""
        sums = int8_matmul(rows.values, weight.values)
        out = torch.empty(sums.shape)
        added = 0 if bias is None else bias.data_ptr()
        self._run.dequantise(*_scaled(sums, weight, rows), added, *sums.shape, out.data_ptr())
        return out

    def add_matmul_and_norm(
        self, hidden: torch.Tensor, rows: Rows, weight: Int8, norm: torch.Tensor, eps: float
    ) -> tuple[torch.Tensor, Rows]:
        """hidden + `matmul`, and `quantised_norm` of that."""
        sums = int8_matmul(rows.values, weight.values)
        out, new = torch.empty(sums.shape), _rows(*sums.shape)
        before = (hidden.data_ptr(), norm.data_ptr(), eps)
        self._run.add_norm_quantise(*_scaled(sums, weight, rows), *before, *sums.shape, out.data_ptr(), *_at(new))
        return out, new

    def quantised_gate(self, rows: Rows, weight: Int8) -> Rows:
        """SiLU(gate) * up of the matmul, in two digits: a few of these values dwarf the rest of their row."""
        sums = int8_matmul(rows.values, weight.values)
        num_rows, size = sums.shape[0], sums.shape[1] // 2
        new = Rows(torch.empty(2 * num_rows, size, dtype=torch.int8), torch.empty(num_rows))
        self._run.gate_quantise(*_scaled(sums, weight, rows), num_rows, size, *_at(new))
        return new

    def add_two_digits(self, hidden: torch.Tensor, rows: Rows, weight: Int8) -> torch.Tensor:
        """hidden + matmul of rows in two digits."""
        sums = int8_matmul(rows.values, weight.values)
        out = torch.empty(hidden.shape)
        self._run.add_two_digits(*_scaled(sums, weight, rows), hidden.data_ptr(), *out.shape, out.data_ptr())
        return out


def _rows(num_rows: int, size: int) -> Rows:
    return Rows(torch.empty(num_rows, size, dtype=torch.int8), torch.empty(num_rows))


def _at(rows: Rows) -> tuple[int, int]:
    return rows.values.data_ptr(), rows.scales.data_ptr()


def _scaled(sums: torch.Tensor, weight: Int8, rows: Rows) -> tuple[int, int, int]:
    return sums.data_ptr(), weight.scales.data_ptr(), rows.scales.data_ptr()
