"""Pinned memory, with a driver that only keeps books; tests/gpu has the real one."""

from __future__ import annotations

import random

import pytest

from coe.errors import ConfigError
from coe.weights.memory import allocation
from coe.weights.memory.allocation import PinnedMemory, SystemMemory, registered_pieces
from coe.weights.memory.arena import Arena, offset_of
from coe.weights.unit import ALIGNMENT

PAGE = ALIGNMENT


class Driver:
    """cudaHostRegister and cudaHostUnregister as a table; refuses overlaps, and piece number `fails_at`."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.registered: dict[int, int] = {}
        self._fails_at = fails_at

    def cudaHostRegister(self, address: int, size: int, flags: int) -> int:  # noqa: N802
        assert flags == 1
        assert address % PAGE == 0
        assert all(address >= start + taken or address + size <= start for start, taken in self.registered.items())
        if len(self.registered) == self._fails_at:
            return 2
        self.registered[address] = size
        return 0

    def cudaHostUnregister(self, address: int) -> int:  # noqa: N802
        del self.registered[address]
        return 0

    def cudaGetErrorString(self, status: int) -> str:  # noqa: N802
        return {2: "out of memory"}[status]


def test_all_of_the_host_budget_is_pinned_at_start_with_progress_and_let_go_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(allocation, "REGISTER_BYTES", 4 * PAGE)
    driver, seen = Driver(), []
    pinned = PinnedMemory(10 * PAGE + 5, lambda done, total: seen.append((done, total)), driver)
    base = pinned.bytes.data_ptr()
    assert driver.registered == {base: 4 * PAGE, base + 4 * PAGE: 4 * PAGE, base + 8 * PAGE: 2 * PAGE}
    assert seen == [(4 * PAGE, 10 * PAGE), (8 * PAGE, 10 * PAGE), (10 * PAGE, 10 * PAGE)]
    pinned.close()
    assert driver.registered == {}


def test_memory_that_cannot_be_pinned_says_what_to_change_and_leaves_nothing_pinned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(allocation, "REGISTER_BYTES", 4 * PAGE)
    driver = Driver(fails_at=2)
    with pytest.raises(ConfigError, match=rf"{12 * PAGE:,}.*after {8 * PAGE:,} \(out of memory\).*host_bytes.*memlock"):
        PinnedMemory(12 * PAGE, None, driver)
    assert driver.registered == {}


@pytest.mark.parametrize("seed", range(3))
def test_a_copy_is_cut_where_registered_pieces_meet_and_nowhere_else(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allocation, "REGISTER_BYTES", 4 * PAGE)
    chance = random.Random(seed)
    arena = Arena(SystemMemory(64 * PAGE))
    while (frame := arena.allocate(chance.randrange(1, 11) * PAGE)) is not None:
        pieces = registered_pieces(frame)
        assert [piece.start for piece in pieces] == [0, *(piece.stop for piece in pieces[:-1])]
        assert pieces[-1].stop == frame.numel()
        for piece in pieces:
            first, last = offset_of(frame) + piece.start, offset_of(frame) + piece.stop - 1
            assert first // (4 * PAGE) == last // (4 * PAGE)
        assert len(pieces) == (offset_of(frame) + frame.numel() - 1) // (4 * PAGE) - offset_of(frame) // (4 * PAGE) + 1
