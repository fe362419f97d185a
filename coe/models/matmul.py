"""Matmuls of activations with a weight as it lies in its unit: (tokens, in) x (out, in) -> (tokens, out).

Owns the choice of torch's kernel by the number of tokens. No weight is packed: it stays a view over its unit's bytes.
The choices were measured (docs/decisions/backends.md). Knows nothing about models.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F

__all__ = ["Int8", "Weight", "embedded", "full", "int8_is_exact", "int8_matmul", "matmul", "num_inputs", "quantised"]

# float32 on a CPU: MKL packs the wider operand anew in every call. From 4 rows on it is faster to make the weight the
# left operand (1.3 to 2 times at 8 to 37 rows); from about 128 rows on packing no longer shows.
_FEW_ROWS = 4
_MANY_ROWS = 128
# int8 with two rows and more: oneDNN reorders the weight in every call, cheap while it stays in the core's cache
_BLOCK_OUT = 3072


class Int8(NamedTuple):
    """A weight quantised per row: values (out, in), scales (out,) in float32."""

    values: torch.Tensor
    scales: torch.Tensor


Weight = torch.Tensor | Int8


def matmul(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Return x @ weight.T (+ bias) in x's dtype; the result may be a transposed view."""
    weight = weight.to(x.dtype)
    if x.dtype is torch.float32 and x.device.type == "cpu" and _FEW_ROWS <= x.shape[0] < _MANY_ROWS:
        columns = torch.mm(weight, x.t().contiguous())  # (out, tokens)
        return (columns if bias is None else columns.add_(bias[:, None])).t()
    return F.linear(x, weight, bias)


def embedded(token_ids: torch.Tensor, weight: Weight, dtype: torch.dtype) -> torch.Tensor:
    """Return the embedding's rows of these tokens, (tokens, hidden), on the device of the weight."""
    if isinstance(weight, Int8):
        rows = token_ids.to(weight.values.device)
        return (weight.values[rows] * weight.scales[rows][:, None]).to(dtype)
    return F.embedding(token_ids.to(weight.device), weight).to(dtype)


def num_inputs(weight: Weight) -> int:
    """Return how many inputs a weight has."""
    return int((weight.values if isinstance(weight, Int8) else weight).shape[1])


@cache
def int8_is_exact() -> bool:
    """Return whether int8 products do not overflow here; processors without VNNI may saturate at 16 bits."""
    extreme = torch.full((4, 64), 127, dtype=torch.int8)
    return all(
        bool((torch._int_mm(x, extreme.t()) == 64 * 127 * 127).all())
        and bool((torch._int_mm(-x, extreme.t()) < 0).all())
        for x in (extreme[:1], extreme)
    )


def int8_matmul(rows: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Return exact int32 sums of int8 (tokens, in) x (out, in) -> (tokens, out)."""
    columns, num_rows = values.t(), rows.shape[0]
    if num_rows == 2:  # twice the kernel for one row, which reorders nothing
        return torch.cat((torch._int_mm(rows[:1], columns), torch._int_mm(rows[1:], columns)))
    if num_rows == 1 or values.shape[0] <= _BLOCK_OUT:
        return torch._int_mm(rows, columns)
    return torch.cat([torch._int_mm(rows, block) for block in columns.split(_BLOCK_OUT, dim=1)], dim=1)


def full(weight: Weight) -> torch.Tensor:
    """Return a weight that is not quantised."""
    assert isinstance(weight, torch.Tensor)
    return weight


def quantised(weight: Weight) -> Int8:
    """Return a weight that is int8."""
    assert isinstance(weight, Int8)
    return weight
