"""The memory of a tier, had once and in one piece: from the system, pinned for a GPU, or on the GPU.

Anonymous maps, not malloc: O_DIRECT needs page alignment, and what is given back really goes back to the system. Pages
of the system's memory are touched when they are first used; pinned memory is all there at start, or the start fails
and says what to change. Knows nothing about units: `arena.py` cuts frames from it.
"""

from __future__ import annotations

import logging
import mmap
import sys
import warnings
from collections.abc import Callable
from typing import Any, Protocol

import torch

from coe.errors import ConfigError
from coe.weights.unit import ALIGNMENT

__all__ = ["REGISTER_BYTES", "CudaMemory", "Memory", "PinnedMemory", "SystemMemory", "registered_pieces"]

REGISTER_BYTES = 1 << 30  # pinned in pieces of this size, so that progress can be shown
NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)  # Python 3.11 has no name for it
PORTABLE = 1  # cudaHostRegisterPortable: pinned for every context

log = logging.getLogger("coe.weights.memory.allocation")


class Memory(Protocol):
    """One piece of memory. `bytes` is flat uint8 and begins at a page."""

    bytes: torch.Tensor

    def give_back(self, start: int, end: int) -> None:
        """Nobody uses these bytes: the system may have them until somebody does; their contents are lost."""
        ...

    def close(self) -> None:
        """Give everything back; nothing may read it any more."""
        ...


class SystemMemory:
    """RAM that is taken page by page when it is first used."""

    def __init__(self, size_bytes: int) -> None:
        self._pages = _map(max(size_bytes // ALIGNMENT, 1) * ALIGNMENT)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # read-only buffers; this one is writable
            whole = torch.frombuffer(self._pages, dtype=torch.uint8)
        self.bytes = whole[: size_bytes // ALIGNMENT * ALIGNMENT]

    def give_back(self, start: int, end: int) -> None:
        self._pages.madvise(mmap.MADV_DONTNEED, start, end - start)

    def close(self) -> None:
        self._pages.madvise(mmap.MADV_DONTNEED)


class PinnedMemory:
    """RAM that is taken and pinned for a GPU at once, piece by piece; raises ConfigError where that cannot be had.

    A copy may not cross from one registered piece into the next: `registered_pieces` cuts it.
    """

    def __init__(
        self, size_bytes: int, progress: Callable[[int, int], None] | None = None, driver: Any | None = None
    ) -> None:
        self._driver = torch.cuda.cudart() if driver is None else driver
        self._system = SystemMemory(size_bytes)
        self.bytes = self._system.bytes
        self._pinned: list[int] = []  # addresses
        for piece in registered_pieces(self.bytes):
            self._pin(self.bytes[piece])
            if progress is not None:
                progress(piece.stop, self.bytes.numel())

    def give_back(self, start: int, end: int) -> None:
        """Nothing: pinned pages stay."""

    def close(self) -> None:
        for address in self._pinned:
            if status := int(self._driver.cudaHostUnregister(address)):
                log.warning("cudaHostUnregister failed with status %d", status)
        self._pinned.clear()
        self._system.close()

    def _pin(self, piece: torch.Tensor) -> None:
        piece.zero_()  # touched by all threads here; the driver would do it with one
        status = self._driver.cudaHostRegister(piece.data_ptr(), piece.numel(), PORTABLE)
        if int(status):
            done, wanted = len(self._pinned) * REGISTER_BYTES, self.bytes.numel()
            self.close()
            raise ConfigError(
                f"pinning {wanted:,} bytes of host memory failed after {done:,} "
                f"({self._driver.cudaGetErrorString(status)}): lower [cache] host_bytes, or raise the limit on locked "
                "memory (ulimit -l; docker run --ulimit memlock=-1)"
            )
        self._pinned.append(piece.data_ptr())


class CudaMemory:
    """Memory of a GPU, one allocation made at start; raises ConfigError where that cannot be had."""

    def __init__(self, size_bytes: int, device: torch.device) -> None:
        try:
            self.bytes = torch.empty(size_bytes // ALIGNMENT * ALIGNMENT, dtype=torch.uint8, device=device)
        except torch.OutOfMemoryError as error:
            free, total = torch.cuda.mem_get_info(device)
            raise ConfigError(
                f"{size_bytes:,} bytes for weights cannot be had on {device}, where {free:,} of {total:,} are free: "
                "lower [cache] device_bytes, or end what else uses the GPU"
            ) from error
        self._device = device

    def give_back(self, start: int, end: int) -> None:
        """Nothing: it is one allocation."""

    def close(self) -> None:
        torch.cuda.synchronize(self._device)
        self.bytes = torch.empty(0, dtype=torch.uint8)
        torch.cuda.empty_cache()


def registered_pieces(flat: torch.Tensor) -> list[slice]:
    """Return the parts of a frame (or of the whole memory) that each lie in one registered piece."""
    offset, size = int(flat.storage_offset()), flat.numel()
    edges = [*range(REGISTER_BYTES - offset % REGISTER_BYTES, size, REGISTER_BYTES), size]
    return [slice(start, end) for start, end in zip([0, *edges], edges, strict=False)] if size else []


def _map(size_bytes: int) -> mmap.mmap:
    """Address space for the whole budget, which the system need not promise to fill (a budget is a limit)."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NORESERVE
    pages = mmap.mmap(-1, size_bytes, flags=flags)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        pages.madvise(mmap.MADV_HUGEPAGE)  # first touch in 2 MiB faults instead of 4 KiB ones
    return pages
