"""The C library's heap: what is free in it goes back to the system.

glibc keeps freed memory for the next allocation; after a start, which builds what is thrown away again, that is for
nothing. Covered: glibc. Elsewhere nothing is done.
"""

from __future__ import annotations

import ctypes
import gc

__all__ = ["trim_heap"]


def trim_heap() -> None:
    """Free what Python has no more use for, and return free pages of the heap to the system."""
    gc.collect()
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library
        return
    trim(0)
