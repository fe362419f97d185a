"""Host values on their way to a GPU, in memory from which a copy needs nobody to wait."""

from __future__ import annotations

import torch

__all__ = ["sent"]


def sent(values: torch.Tensor, device: torch.device, target: torch.Tensor | None = None) -> torch.Tensor:
    """The values on the device, in `target` if there is one; queued, not waited for.

    torch keeps pinned bytes until their copy has ended, so a new set each time is safe. From pageable memory every
    copy would wait for all that is queued before it.
    """
    source = values.pin_memory() if device.type == "cuda" else values
    return source.to(device, non_blocking=True) if target is None else target.copy_(source, non_blocking=True)
