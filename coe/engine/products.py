"""Matrix products of activations with a weight as it lies in its unit: (tokens, in) x (out, in) -> (tokens, out).

Owns which of torch's kernels is right for how many tokens; nothing is packed, so a weight stays a view over its unit's
bytes. The choices were measured (docs/decisions.md). Knows nothing about models.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F

__all__ = ["Int8", "Weight", "embedded", "int8_is_exact", "num_inputs", "product"]

# float32 on a CPU: MKL packs the wider operand anew in every call. From 4 rows on it is faster to make the weight the
# left one (1.3-2 times at 8 to 37 rows); from about 128 on packing no longer shows.
_FEW_ROWS = 4
_MANY_ROWS = 128
# int8 with two rows and more: oneDNN reorders the weight in every call, cheap while it stays in the core's cache
_BLOCK_OUT = 3072
_DIGIT = 254.0  # the second digit counts 254ths of the first one's step


class Int8(NamedTuple):
    """A weight quantised per row: values (out, in), scales (out,) in float32."""

    values: torch.Tensor
    scales: torch.Tensor


Weight = torch.Tensor | Int8


def product(
    x: torch.Tensor, weight: Weight, bias: torch.Tensor | None = None, *, has_outliers: bool = False
) -> torch.Tensor:
    """x @ weight.T (+ bias); the result may be a transposed view.

    `has_outliers` says that a few of x's values dwarf the rest of their row: with int8 weights it gets two digits.
    """
    if isinstance(weight, Int8):
        y = _int8_product(x, weight, has_outliers).to(x.dtype)
        return y if bias is None else y + bias
    if x.dtype is torch.float32 and x.device.type == "cpu" and _FEW_ROWS <= x.shape[0] < _MANY_ROWS:
        columns = torch.mm(weight, x.t().contiguous())  # (out, tokens)
        return (columns if bias is None else columns.add_(bias[:, None])).t()
    return F.linear(x, weight, bias)


def embedded(token_ids: torch.Tensor, weight: Weight, dtype: torch.dtype) -> torch.Tensor:
    """The weight's rows for these tokens, (tokens, hidden), where the weight is: on the host or on the device."""
    if isinstance(weight, Int8):
        rows = token_ids.to(weight.values.device)
        return (weight.values[rows] * weight.scales[rows][:, None]).to(dtype)
    return F.embedding(token_ids.to(weight.device), weight)


def num_inputs(weight: Weight) -> int:
    return int((weight.values if isinstance(weight, Int8) else weight).shape[1])


@cache
def int8_is_exact() -> bool:
    """Whether this processor multiplies int8 without overflow; some without VNNI saturate at 16 bits."""
    extreme = torch.full((4, 64), 127, dtype=torch.int8)
    return all(
        bool((torch._int_mm(x, extreme.t()) == 64 * 127 * 127).all())
        and bool((torch._int_mm(-x, extreme.t()) < 0).all())
        for x in (extreme[:1], extreme)
    )


def _int8_product(x: torch.Tensor, weight: Int8, has_outliers: bool) -> torch.Tensor:
    """Every token is quantised by itself and int32 sums are exact, so a token's result never depends on the others."""
    largest = torch.linalg.vector_norm(x, float("inf"), dim=-1, keepdim=True, dtype=torch.float32)
    step = largest.clamp_(min=1e-30).mul_(1 / 127)
    steps = torch.div(x, step)
    whole = steps.round()
    if not has_outliers:
        return (_int8_sums(whole.to(torch.int8), weight.values) * weight.scales).mul_(step)
    rest = steps.sub_(whole).mul_(_DIGIT).round_()
    high, low = _int8_sums(torch.cat((whole, rest)).to(torch.int8), weight.values).chunk(2)
    return low.mul(1 / _DIGIT).add_(high).mul_(weight.scales).mul_(step)


def _int8_sums(rows: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    if len(rows) == 2:  # twice the kernel for one row, which reorders nothing
        return torch.cat([torch._int_mm(row, values.t()) for row in rows.split(1)])
    if len(rows) == 1 or len(values) <= _BLOCK_OUT:
        return torch._int_mm(rows, values.t())
    return torch.cat([torch._int_mm(rows, block.t()) for block in values.split(_BLOCK_OUT)], dim=1)
