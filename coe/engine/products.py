"""Matrix products of activations with a weight as it lies in its unit: (tokens, in) x (out, in) -> (tokens, out).

Owns which of torch's kernels is right for how many tokens; nothing is packed, so a weight stays a view over its unit's
bytes. The choices were measured (docs/decisions.md). Knows nothing about models.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

__all__ = ["product"]

# float32 on a CPU: MKL packs the wider operand anew in every call. From 4 rows on it is faster to make the weight the
# left one (1.3-2 times at 8 to 37 rows); from about 128 on packing no longer shows.
_FEW_ROWS = 4
_MANY_ROWS = 128


def product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """x @ weight.T (+ bias); the result may be a transposed view."""
    if x.dtype is torch.float32 and x.device.type == "cpu" and _FEW_ROWS <= x.shape[0] < _MANY_ROWS:
        columns = torch.mm(weight, x.t().contiguous())  # (out, tokens)
        return (columns if bias is None else columns.add_(bias[:, None])).t()
    return F.linear(x, weight, bias)
