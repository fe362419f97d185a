"""Host values copied to a GPU from pinned memory, so that the copy is queued and the host goes on."""

from __future__ import annotations

import torch

__all__ = ["sent"]


def sent(values: torch.Tensor, device: torch.device, target: torch.Tensor | None = None) -> torch.Tensor:
    """Return the values on the device, in `target` if there is one; the copy is queued, not waited for.

    torch keeps pinned bytes until their copy has ended, so new ones each time are safe. From pageable memory a copy
    would wait for all work that is queued before it.
    """
    source = values.pin_memory() if device.type == "cuda" else values
    return source.to(device, non_blocking=True) if target is None else target.copy_(source, non_blocking=True)
