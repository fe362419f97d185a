"""Page-aligned memory for units, recycled by size.

Anonymous maps, not malloc: O_DIRECT needs page alignment, a freed frame really goes back to the system, and a recycled
one is already faulted in (first touch costs as much as the copy itself). Knows nothing about units or budgets: the
residency table decides, this only hands out and takes back.
"""

from __future__ import annotations

import mmap
import warnings
from collections import defaultdict

import torch

__all__ = ["Arena"]


class Arena:
    """Frames of flat bytes on the CPU. Held bytes (in use and free) never exceed `limit_bytes`."""

    def __init__(self, limit_bytes: int, *, is_pinned: bool = False) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self._is_pinned = is_pinned
        self._free: dict[int, list[torch.Tensor]] = defaultdict(list)

    def allocate(self, size_bytes: int) -> torch.Tensor:
        """Return a uint8 tensor of `size_bytes`; contents are undefined. The caller keeps to the budget."""
        if self._free[size_bytes]:
            return self._free[size_bytes].pop()
        self._trim(self.limit_bytes - size_bytes)
        self.held_bytes += size_bytes
        return _map(size_bytes, self._is_pinned)

    def free(self, frame: torch.Tensor) -> None:
        """Take a frame back; nothing may read it any more."""
        self._free[frame.numel()].append(frame)

    def close(self) -> None:
        self._trim(0)

    def _trim(self, limit_bytes: int) -> None:
        """Give free frames back to the system until at most `limit_bytes` are held."""
        for size_bytes, frames in self._free.items():
            while frames and self.held_bytes > limit_bytes:
                frame = frames.pop()
                if self._is_pinned:
                    torch.cuda.cudart().cudaHostUnregister(frame.data_ptr())
                self.held_bytes -= size_bytes


def _map(size_bytes: int, is_pinned: bool) -> torch.Tensor:
    pages = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        pages.madvise(mmap.MADV_HUGEPAGE)  # first touch in 2 MiB faults instead of 4 KiB ones
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # read-only buffers; this one is writable
        frame = torch.frombuffer(pages, dtype=torch.uint8)
    if is_pinned:
        _check_cuda(torch.cuda.cudart().cudaHostRegister(frame.data_ptr(), size_bytes, 0))
    return frame


def _check_cuda(status: object) -> None:
    if int(status) != 0:  # type: ignore[call-overload]
        raise MemoryError(f"cudaHostRegister failed with {status}: lower [cache] host_bytes or raise ulimit -l")
