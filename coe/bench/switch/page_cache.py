"""The page cache's contents: what the kernel holds of a file, and how to make it forget that."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

__all__ = ["cached_bytes", "drop_from_page_cache"]


def drop_from_page_cache(files: Sequence[Path]) -> None:
    """Make the kernel forget these files' pages; raises RuntimeError if `mincore` still finds some."""
    for file in files:
        fd = os.open(file, os.O_RDONLY)
        try:
            os.fdatasync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)
    left = sum(cached_bytes(file) for file in files)
    if left:
        raise RuntimeError(f"{left:,} bytes of {len(files)} files are still in the page cache: cold figures would lie")


def cached_bytes(file: Path) -> int:
    """Bytes of a file that are in the page cache, by mincore(2)."""
    size = file.stat().st_size
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), size, access=mmap.ACCESS_READ) as pages:
        address = np.frombuffer(pages, dtype=np.uint8).ctypes.data
        found = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), found):
            raise OSError(ctypes.get_errno(), f"mincore({file})")
        return sum(page & 1 for page in found) * mmap.PAGESIZE
