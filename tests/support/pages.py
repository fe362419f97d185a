"""What a sequence's keys and values really take, as the kernel has it."""

from __future__ import annotations

import mmap

import numpy as np

from coe.engine.loop import Engine
from coe.models.kv import SequenceKv

__all__ = ["check_kv_pages", "resident_bytes"]


def resident_bytes(kv: SequenceKv) -> int:
    """Bytes of its pages that are in memory."""
    storage = kv._keys.untyped_storage()
    first, count = storage.data_ptr() // mmap.PAGESIZE, storage.nbytes() // mmap.PAGESIZE
    with open("/proc/self/pagemap", "rb") as file:
        file.seek(first * 8)
        entries = np.frombuffer(file.read(count * 8), np.uint64)
    return int((entries >> np.uint64(63)).sum()) * mmap.PAGESIZE


def check_kv_pages(engine: Engine) -> None:
    """On the engine thread: raise AssertionError if any sequence's pages take more than is reserved for them."""
    for sequence in engine._sequences:
        if isinstance(sequence.kv, SequenceKv):
            assert resident_bytes(sequence.kv) <= engine._scheduler.kv_reserved_bytes(sequence.id)
    for kept in () if engine._prefixes._kept is None else engine._prefixes._kept._kept.values():
        if isinstance(kept.kv, SequenceKv):
            assert resident_bytes(kept.kv) <= kept.size_bytes
