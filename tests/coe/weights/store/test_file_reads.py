"""A read fills its target, however much of the file the page cache has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from coe.weights.memory.allocation import SystemMemory
from coe.weights.store.file_reads import read_buffered, read_into
from coe.weights.unit import ALIGNMENT


def test_read_fills_the_target_from_cold_and_warm_pages(tmp_path: Path) -> None:
    file = tmp_path / "unit"
    content = os.urandom(5 * ALIGNMENT)
    file.write_bytes(content)
    fd = os.open(file, os.O_RDONLY)
    os.fsync(fd)
    for advice in (os.POSIX_FADV_NORMAL, os.POSIX_FADV_DONTNEED):
        os.posix_fadvise(fd, 0, 0, advice)
        frame = SystemMemory(4 * ALIGNMENT).bytes
        read_into(file, memoryview(frame.numpy()), ALIGNMENT)  # type: ignore[arg-type]
        assert torch.equal(frame, torch.frombuffer(bytearray(content[ALIGNMENT:]), dtype=torch.uint8))
    os.close(fd)
    for offset in (3 * ALIGNMENT, 9 * ALIGNMENT):  # a piece in which it ends, and one that lies behind its end
        with pytest.raises(EOFError, match=f"ends at byte {5 * ALIGNMENT}, {offset - ALIGNMENT} bytes short"):
            read_into(file, memoryview(frame.numpy()), offset)  # type: ignore[arg-type]


@pytest.mark.parametrize("missing", ["O_DIRECT", "preadv", "RWF_NOWAIT"])
def test_a_system_without_it_reads_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    file = tmp_path / "unit"
    content = os.urandom(3 * ALIGNMENT + 7)
    file.write_bytes(content)
    monkeypatch.delattr(os, missing)
    frame = SystemMemory(2 * ALIGNMENT).bytes
    read_into(file, memoryview(frame.numpy()), ALIGNMENT)  # type: ignore[arg-type]
    assert frame.numpy().tobytes() == content[ALIGNMENT : 3 * ALIGNMENT]
    odd = bytearray(9)
    read_buffered(file, memoryview(odd), 5)
    assert odd == content[5:14]


def test_a_file_that_ends_between_pages_is_said_to_be_short(tmp_path: Path) -> None:
    file = tmp_path / "unit"
    file.write_bytes(bytes(ALIGNMENT + 7))
    with pytest.raises(EOFError, match=f"ends at byte {ALIGNMENT + 7}, {ALIGNMENT - 7} bytes short"):
        read_into(file, memoryview(SystemMemory(2 * ALIGNMENT).bytes.numpy()), 0)  # type: ignore[arg-type]
