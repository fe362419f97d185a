"""Quantised forms of a matrix, made once at import.

Knows nothing about files, units or the arithmetic that multiplies with the result.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

__all__ = ["Int8Rows", "quantise_rows"]


class Int8Rows(NamedTuple):
    """An int8 matrix: its rows are `values` (out, in), int8, times `scales` (out,), float32."""

    values: torch.Tensor
    scales: torch.Tensor


def quantise_rows(weight: torch.Tensor) -> Int8Rows:
    """Quantise a matrix (out, in) per row: symmetric, rounded to nearest, the row's largest magnitude at 127."""
    rows = weight.float()
    scales = rows.abs().amax(dim=1).clamp_min(torch.finfo(torch.float32).tiny) / 127
    return Int8Rows((rows / scales[:, None]).round().to(torch.int8), scales)
