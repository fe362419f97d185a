"""What is free in the C library's heap goes back to the system, and a library without that call is left alone."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import pytest

from coe.machine.heap import trim_heap

SIZE = 64 << 20


def anonymous_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="glibc's heap")
def test_freed_memory_is_given_back() -> None:
    blocks = [bytes(2000) for _ in range(SIZE // 2000)]  # too large for Python's own pools, too small for maps
    last = blocks.pop()  # keeps the heap's end where it is
    blocks.clear()
    before = anonymous_bytes()
    trim_heap()
    assert before - anonymous_bytes() > SIZE // 2
    assert len(last) == 2000


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: object())
    trim_heap()
