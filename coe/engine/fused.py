"""A CPU step's float32 rows between its matrix products, and int8 products with what stands around them, fused.

Wraps the compiled loops of `kernels.py`, for which the extra `cpu` brings numba: `Fused.load` is None without it. With
int8 weights every token is quantised by itself and int32 sums are exact, so a token's result never depends on the
others in its batch. Knows nothing about models.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import torch

from coe.engine.kv import Window
from coe.engine.products import Int8, int8_sums

__all__ = ["Fused", "Rows", "Seen"]

# Keys and values that one token sees in a layer, in bytes. Beyond this torch's attention wins: it takes every core.
_MAX_SEEN_BYTES = 2 << 20


class Rows(NamedTuple):
    """Quantised activations: values int8 (rows, size), or (2 rows, size) in two digits; steps float32 (rows,)."""

    values: torch.Tensor
    steps: torch.Tensor


class Seen:
    """Where the keys and values are that each row's single new token sees, by address; made once a step."""

    def __init__(self, windows: Sequence[Window]) -> None:
        self._num_rows = len(windows)
        self._keys = _addresses([window.keys for window in windows])
        self._values = _addresses([window.values for window in windows])
        self._lengths = np.array([window.keys[0].shape[1] for window in windows], np.int64)
        self._strides = np.array([window.keys[0].stride(0) for window in windows], np.int64)
        self._at = [array.ctypes.data for array in (self._keys, self._values, self._lengths, self._strides)]

    def at(self, layer: int, row: int) -> tuple[int, int, int, int]:
        """Addresses of keys, values, lengths and strides from this row on."""
        keys, values, lengths, strides = self._at
        there = 8 * (layer * self._num_rows + row)
        return keys + there, values + there, lengths + 8 * row, strides + 8 * row


class Fused:
    """The loops, with tensors for addresses. All are float32 and contiguous; results are new unless said otherwise."""

    def __init__(self) -> None:
        from coe.engine import kernels

        self._run: Any = kernels

    @classmethod
    def load(cls) -> Fused | None:
        """None where numba is not installed. The first call on a machine compiles for some seconds."""
        return _fused() if find_spec("numba") is not None else None

    # -- what every dtype of weights needs

    def normed(self, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        """RMSNorm over the last dimension."""
        x, out = x.contiguous(), torch.empty(x.shape)
        size = x.shape[-1]
        self._run.rms_norm(x.data_ptr(), weight.data_ptr(), eps, x.numel() // size, size, out.data_ptr())
        return out

    def gated(self, gate_up: torch.Tensor) -> torch.Tensor:
        """SiLU(gate) * up of (rows, 2 size)."""
        gate_up = gate_up.contiguous()
        out = torch.empty(gate_up.shape[0], gate_up.shape[1] // 2)
        self._run.gate(gate_up.data_ptr(), *out.shape, out.data_ptr())
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

    @staticmethod
    def attends(window: Window, num_new: int) -> bool:
        """Whether `attended` is right for a sequence: one new token, and not too much for one core to look at."""
        keys = window.keys[0]
        return num_new == 1 and 2 * keys.element_size() * keys.numel() <= _MAX_SEEN_BYTES

    def attended(
        self, qkv: torch.Tensor, num_heads: int, num_kv_heads: int, seen: Seen, layer: int, first: int = 0
    ) -> torch.Tensor:
        """Attention of one new token per row, whose key and value are stored on the way, (rows, heads * dim).

        qkv: (rows, heads + 2 kv heads, dim), rows of `seen` from `first` on.
        """
        rows, width, dim = qkv.shape
        out = torch.empty(rows, num_heads * dim)
        sizes = (rows, width * dim, num_heads, num_kv_heads, dim)
        self._run.attend(qkv.data_ptr(), *sizes, *seen.at(layer, first), dim**-0.5, out.data_ptr())
        return out

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

    def product(self, rows: Rows, weight: Int8, bias: torch.Tensor | None = None) -> torch.Tensor:
        """rows @ weight.T (+ bias)."""
        sums = int8_sums(rows.values, weight.values)
        out = torch.empty(sums.shape)
        added = 0 if bias is None else bias.data_ptr()
        self._run.dequantise(*_scaled(sums, weight, rows), added, *sums.shape, out.data_ptr())
        return out

    def add_product_and_norm(
        self, hidden: torch.Tensor, rows: Rows, weight: Int8, norm: torch.Tensor, eps: float
    ) -> tuple[torch.Tensor, Rows]:
        """hidden + `product`, and `quantised_norm` of that."""
        sums = int8_sums(rows.values, weight.values)
        out, new = torch.empty(sums.shape), _rows(*sums.shape)
        before = (hidden.data_ptr(), norm.data_ptr(), eps)
        self._run.add_norm_quantise(*_scaled(sums, weight, rows), *before, *sums.shape, out.data_ptr(), *_at(new))
        return out, new

    def quantised_gate(self, rows: Rows, weight: Int8) -> Rows:
        """`gated` of the product, in two digits: a few of these values dwarf the rest of their row."""
        sums = int8_sums(rows.values, weight.values)
        num_rows, size = sums.shape[0], sums.shape[1] // 2
        new = Rows(torch.empty(2 * num_rows, size, dtype=torch.int8), torch.empty(num_rows))
        self._run.gate_quantise(*_scaled(sums, weight, rows), num_rows, size, *_at(new))
        return new

    def add_two_digits(self, hidden: torch.Tensor, rows: Rows, weight: Int8) -> torch.Tensor:
        """hidden + product of rows in two digits."""
        sums = int8_sums(rows.values, weight.values)
        out = torch.empty(hidden.shape)
        self._run.add_two_digits(*_scaled(sums, weight, rows), hidden.data_ptr(), *out.shape, out.data_ptr())
        return out


@cache
def _fused() -> Fused:
    return Fused()


def _rows(num_rows: int, size: int) -> Rows:
    return Rows(torch.empty(num_rows, size, dtype=torch.int8), torch.empty(num_rows))


def _at(rows: Rows) -> tuple[int, int]:
    return rows.values.data_ptr(), rows.steps.data_ptr()


def _scaled(sums: torch.Tensor, weight: Int8, rows: Rows) -> tuple[int, int, int]:
    return sums.data_ptr(), weight.scales.data_ptr(), rows.steps.data_ptr()


def _addresses(layers: Sequence[Sequence[torch.Tensor]]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """(layers, rows) of one tensor per row and layer."""
    return np.array([[tensor.data_ptr() for tensor in row] for row in layers], np.int64).T.copy()
