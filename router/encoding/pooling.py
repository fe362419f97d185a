"""Token states to one sentence vector. Knows nothing about networks or texts."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["pooled"]


@torch.inference_mode()
def pooled(states: Tensor, pooling: str) -> Tensor:
    """Return (hidden,) of length 1 from (tokens, hidden): the sentence embedding that the model was made for."""
    return torch.nn.functional.normalize(pool(states, pooling), dim=0)


def pool(states: Tensor, pooling: str) -> Tensor:
    if pooling == "mean":
        return states.mean(0)
    if pooling == "max":
        return states.amax(0)
    return states[0] if pooling == "cls" else states[-1]
