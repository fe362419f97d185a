"""A linear layer in 8-bit integers, which a CPU with VNNI instructions computes three times faster than float32.

Owns quantisation of weights (once, one scale per output) and of activations (each row by its own range, so a token's
result depends on no other token). The integer product is exact; only rounding to 8 bits loses anything. Knows nothing
about models.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Int8Linear", "is_fast_here"]

LEVELS = 127  # of -127 … 127


class Int8Linear:
    """x @ weight.T + bias with weight (out, in) and x (rows, in), both rounded to 8 bits for the product.

    A row is x ≈ middle + scale * q with q in -127 … 127, so x @ W.T ≈ scale * (q @ W.T) + middle * (W's row sums).
    Without the middle, the few large one-sided channels of a transformer would cost twice the error.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        scales = weight.abs().amax(dim=1).clamp_min(1e-12) / LEVELS  # (out,)
        rounded = (weight / scales[:, None]).round()
        self._weight = rounded.to(torch.int8).t()  # (in, out), a view: oneDNN takes it without a copy
        self._sums = rounded.sum(dim=1) * scales  # (out,)
        self._scales = scales
        self._bias = bias

    def __call__(self, x: Tensor) -> Tensor:
        """Return (rows, out) float32."""
        low, high = x.amin(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)
        middle = (low + high).mul_(0.5)
        row_scales = (high - low).mul_(0.5 / LEVELS).clamp_min_(1e-12)  # (rows, 1)
        # in place, one operand at a time: fused broadcasts and fresh buffers are several times slower
        rounded = (x - middle).mul_(1 / row_scales).round_().to(torch.int8)
        product = torch._int_mm(rounded, self._weight).float().mul_(self._scales).mul_(row_scales)
        return product.addr_(middle[:, 0], self._sums).add_(self._bias)


def is_fast_here() -> bool:
    """Return whether this processor multiplies 8-bit integers in hardware (AVX-512 VNNI)."""
    return bool(torch.cpu._is_vnni_supported())
