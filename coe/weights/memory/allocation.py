"""The memory of a tier, allocated once and in one piece: system memory, memory pinned for a GPU, or a GPU's own.

System memory is an anonymous map, not malloc's: O_DIRECT needs page alignment, and bytes that are given back really
return to the system. The system provides its pages when they are first used. Pinned memory is provided as a whole at
start, or the start fails and says what to change. Knows nothing about units: `arena.py` cuts frames from it.
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

REGISTER_BYTES = 1 << 30  # memory is pinned in pieces of this size, so that progress can be shown
NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)  # Python 3.11 has no name for it
PORTABLE = 1  # cudaHostRegisterPortable: pinned for every CUDA context

log = logging.getLogger("coe.weights.memory.allocation")


class Memory(Protocol):
    """One piece of memory. `bytes` is flat uint8 and begins at a page boundary."""

    bytes: torch.Tensor

    def give_back(self, start: int, end: int) -> None:
        """Return bytes to the system until they are used again; their contents are lost."""
        ...

    def close(self) -> None:
        """Return all bytes to the system; no reader may be left."""
        ...


class SystemMemory:
    """RAM that the system provides page by page, when it is first used."""

    def __init__(self, size_bytes: int) -> None:
        self._pages = _map(max(size_bytes // ALIGNMENT, 1) * ALIGNMENT)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch warns of read-only buffers; this one is writable
            whole = torch.frombuffer(self._pages, dtype=torch.uint8)
        self.bytes = whole[: size_bytes // ALIGNMENT * ALIGNMENT]

    def give_back(self, start: int, end: int) -> None:
        self._pages.madvise(mmap.MADV_DONTNEED, start, end - start)

    def close(self) -> None:
        self._pages.madvise(mmap.MADV_DONTNEED)


class PinnedMemory:
    """RAM that is allocated and pinned for a GPU at once; raises ConfigError if the system refuses.

    It is registered in pieces, and a copy may not cross from one into the next: `registered_pieces` cuts it.
    `progress` is called with the bytes pinned and the bytes in all.
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
        """Do nothing: pinned pages stay."""

    def close(self) -> None:
        for address in self._pinned:
            if status := int(self._driver.cudaHostUnregister(address)):
                log.warning("cudaHostUnregister failed with status %d", status)
        self._pinned.clear()
        self._system.close()

    def _pin(self, piece: torch.Tensor) -> None:
        piece.zero_()  # all threads provide the pages here; the driver would do it with one
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
    """Memory of a GPU, allocated at start; raises ConfigError if the GPU has too little free."""

    def __init__(self, size_bytes: int, device: torch.device) -> None:
        try:
            self.bytes = torch.empty(size_bytes // ALIGNMENT * ALIGNMENT, dtype=torch.uint8, device=device)
        except torch.OutOfMemoryError as error:
            free, total = torch.cuda.mem_get_info(device)
            raise ConfigError(
                f"{size_bytes:,} bytes for weights do not fit on {device}, where {free:,} of {total:,} are free: "
                "lower [cache] device_bytes, or end other programs that use the GPU"
            ) from error
        self._device = device

    def give_back(self, start: int, end: int) -> None:
        """Do nothing: it is one allocation."""

    def close(self) -> None:
        torch.cuda.synchronize(self._device)
        self.bytes = torch.empty(0, dtype=torch.uint8)
        torch.cuda.empty_cache()


def registered_pieces(flat: torch.Tensor) -> list[slice]:
    """Cut a frame (or the whole memory) so that each slice lies in one registered piece."""
    offset, size = int(flat.storage_offset()), flat.numel()
    edges = [*range(REGISTER_BYTES - offset % REGISTER_BYTES, size, REGISTER_BYTES), size]
    return [slice(start, end) for start, end in zip([0, *edges], edges, strict=False)] if size else []


def _map(size_bytes: int) -> mmap.mmap:
    """Map address space for the whole budget; the system need not promise to fill it, as a budget is a limit."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NORESERVE
    pages = mmap.mmap(-1, size_bytes, flags=flags)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        pages.madvise(mmap.MADV_HUGEPAGE)  # first use faults in 2 MiB at a time instead of 4 KiB
    return pages
