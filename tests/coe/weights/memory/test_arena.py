"""Frames cut from one piece of memory: moved ones keep their bytes, long free ones return to the system."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from coe.weights.memory.allocation import SystemMemory
from coe.weights.memory.arena import KEPT_S, Arena, offset_of
from coe.weights.unit import ALIGNMENT

PAGE = ALIGNMENT


def test_frames_that_move_keep_their_bytes_also_where_the_old_place_overlaps_the_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("coe.weights.memory.arena.SCRATCH_BYTES", 2 * PAGE)
    arena = Arena(SystemMemory(16 * PAGE))
    small, large = arena.allocate(PAGE), arena.allocate(9 * PAGE)
    assert small is not None
    assert large is not None
    content = torch.frombuffer(bytearray(os.urandom(9 * PAGE)), dtype=torch.uint8)
    large.copy_(content)
    arena.free(small)
    moved = arena.compact(7 * PAGE, lambda _: True)
    assert moved is not None
    (now,) = moved.values()
    assert offset_of(now) == 0
    assert torch.equal(now, content)
    assert arena.allocate(7 * PAGE) is not None
    arena.check_integrity()


def test_frames_begin_at_pages_of_memory_that_is_not_there_before_it_is_used() -> None:
    before = resident_set_bytes()
    arena = Arena(SystemMemory(1 << 40))  # far more than any machine that runs this has
    frame = arena.allocate(64 << 20)
    assert frame is not None
    assert frame.data_ptr() % PAGE == 0
    assert resident_set_bytes() - before < 32 << 20
    frame.fill_(1)
    assert resident_set_bytes() - before > 48 << 20


def test_memory_that_is_free_for_long_goes_back_and_what_is_used_again_does_not() -> None:
    clock = [0.0]
    arena = Arena(SystemMemory(256 << 20), clock=lambda: clock[0])
    frames = [arena.allocate(64 << 20) for _ in range(2)]
    for frame in frames:
        assert frame is not None
        frame.fill_(7)
    full = resident_set_bytes()
    for frame in frames:
        assert frame is not None
        arena.free(frame)
    again = arena.allocate(64 << 20)
    assert again is not None
    clock[0] = KEPT_S / 2
    arena.give_back()
    assert full - resident_set_bytes() < 16 << 20
    assert arena.due_s == KEPT_S
    clock[0] = KEPT_S
    arena.give_back()
    assert 48 << 20 < full - resident_set_bytes() < 80 << 20
    assert arena.due_s is None
    assert int(again.min()) == 7, "bytes in use stay what they are"
    arena.close()
    assert full - resident_set_bytes() > 100 << 20


def resident_set_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
