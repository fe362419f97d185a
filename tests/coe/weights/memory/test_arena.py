"""Memory cut into frames: nothing overlaps, nothing is stranded, what is moved keeps its bytes."""

from __future__ import annotations

import os
import random
from functools import partial
from pathlib import Path

import pytest
import torch

from coe.errors import ConfigError
from coe.weights.memory import allocation
from coe.weights.memory.allocation import PinnedMemory, SystemMemory, registered_pieces
from coe.weights.memory.arena import KEPT_S, Arena, offset_of
from coe.weights.memory.extents import Extents
from coe.weights.memory.frames import Frames
from coe.weights.memory.unit_location import UnitKind, UnitLocations
from coe.weights.unit import ALIGNMENT, Unit

PAGE = ALIGNMENT


class Owner:
    """Extents and what is known of them: which bytes are whose."""

    def __init__(self, size: int) -> None:
        self.extents = Extents(size)
        self.size = size
        self.runs: dict[int, int] = {}

    def allocate(self, size: int, at: int | None = None) -> int | None:
        start = self.extents.allocate(size, at)
        if start is not None:
            self.runs[start] = size
        self.check()
        return start

    def free(self, start: int) -> None:
        del self.runs[start]
        self.extents.free(start)
        self.check()

    def slide(self, size: int, fixed: set[int]) -> bool:
        moves = self.extents.slide(size, lambda start: start not in fixed)
        for move in moves or ():
            assert move.to < move.start
            assert self.runs.pop(move.start) == move.size
            assert move.start not in fixed
            self.runs[move.to] = move.size
        self.check()
        return moves is not None

    @property
    def free_bytes(self) -> int:
        return self.size - sum(self.runs.values())

    def check(self) -> None:
        self.extents.check_integrity()
        assert self.extents.used_bytes == sum(self.runs.values()) <= self.size
        held: set[int] = set()
        for start, size in self.runs.items():
            own = set(range(start, start + size))
            assert not own & held, "two runs overlap"
            held |= own
        assert held <= set(range(self.size))


@pytest.mark.parametrize("seed", range(8))
def test_runs_never_overlap_and_free_bytes_are_never_out_of_reach(seed: int) -> None:
    """Whatever came and went before: as many bytes as are free can be had in one piece, by freeing or by moving."""
    chance = random.Random(seed)
    owner = Owner(100)
    for _ in range(600):
        size = chance.randrange(1, 30)
        if owner.runs and chance.random() < 0.45:
            owner.free(chance.choice(list(owner.runs)))
        elif owner.allocate(size, chance.choice([None, chance.randrange(100)])) is None and owner.free_bytes >= size:
            assert all(run < size for _, run in owner.extents.free_runs())
            if chance.random() < 0.5:
                assert owner.slide(size, set())
            else:
                costs = {start: chance.choice([None, 1.0, 5.0]) for start in owner.runs}
                going = owner.extents.cheapest_run(size, costs.get)
                assert going is not None or any(cost is None for cost in costs.values())
                for start in going or ():
                    assert costs[start] is not None
                    owner.free(start)
                if going is None:
                    assert owner.slide(size, set())
            assert owner.allocate(size) is not None


def test_all_that_is_freed_becomes_one_piece_again() -> None:
    owner = Owner(64)
    starts = [owner.allocate(size) for size in (8, 16, 4, 32, 4)]
    for start in (starts[1], starts[3], starts[0], starts[4], starts[2]):
        assert start is not None
        owner.free(start)
    assert list(owner.extents.free_runs()) == [(0, 64)]


def test_the_smallest_piece_that_fits_is_cut_and_a_wanted_place_is_kept() -> None:
    owner = Owner(40)
    starts = [owner.allocate(size) for size in (10, 2, 6, 2, 20)]
    for at in (0, 2, 4):
        owner.free(starts[at])  # type: ignore[arg-type]
    assert owner.allocate(6) == starts[2]
    assert owner.allocate(6, at=25) == 25
    assert owner.allocate(6, at=25) == 31, "what is in use is not to be had, and the smallest other place will do"


def test_the_place_that_loses_least_is_found() -> None:
    owner = Owner(24)
    for _ in range(6):
        owner.allocate(4)
    costs = {0: 1.0, 4: 9.0, 8: 2.0, 12: 2.0, 16: None, 20: 0.0}
    assert owner.extents.cheapest_run(8, costs.get) == [8, 12]
    assert owner.extents.cheapest_run(4, costs.get) == [20]
    assert owner.extents.cheapest_run(20, costs.get) is None


def test_moving_takes_the_fewest_bytes_and_none_that_must_stay() -> None:
    owner = Owner(32)
    for _ in range(8):
        owner.allocate(4)
    for start in (0, 8, 16, 24):
        owner.free(start)
    assert not owner.slide(8, {4, 12, 20, 28}), "all that is left stands in the way"
    assert owner.slide(8, {4, 12, 28})
    assert owner.allocate(8) is not None
    assert {4, 12, 28} <= set(owner.runs)


def filled(frame: torch.Tensor, value: int) -> torch.Tensor:
    return frame.fill_(value)


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
    filled(frame, 1)
    assert resident_set_bytes() - before > 48 << 20


def test_memory_that_is_free_for_long_goes_back_and_what_is_used_again_does_not() -> None:
    clock = [0.0]
    arena = Arena(SystemMemory(256 << 20), clock=lambda: clock[0])
    frames = [arena.allocate(64 << 20) for _ in range(2)]
    for frame in frames:
        assert frame is not None
        filled(frame, 7)
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


# -- whose frame it is


def unit(name: str, num_pages: int = 1, expert: str = "") -> Unit:
    return Unit(name, f"{expert}.{name}", num_pages * PAGE, ())


def test_an_expert_of_the_same_shape_gets_the_addresses_of_the_one_that_left() -> None:
    """In whatever order its units come: a graph that was captured over these addresses serves it."""
    frames = Frames(Arena(SystemMemory(6 * PAGE)), UnitLocations())
    first = [unit("embed", 3, "a"), unit("layer.0", 1, "a"), unit("layer.1", 1, "a"), unit("head", 1, "a")]
    addresses = {each.name: frames.put(each).data_ptr() for each in first}  # type: ignore[union-attr]
    for each in first:
        frames.drop(each.hash)
    frames.put(unit("layer.0", 1, "b"))
    frames.drop("b.layer.0")
    for each in (first[2], first[0], first[3], first[1]):
        other = unit(each.name, each.size_bytes // PAGE, "c")
        flat = frames.put(other)
        assert flat is not None
        assert flat.data_ptr() == addresses[each.name]
    frames.check_integrity()


def test_a_place_is_forgotten_when_something_else_takes_a_byte_of_it() -> None:
    locations = UnitLocations()
    small, large = UnitKind("layer.0", 4), UnitKind("embed", 6)
    for offset in (0, 4, 8, 12):
        locations.settle(small, offset)
    locations.settle(large, 2)
    assert (locations.of(small), locations.of(large)) == ([8, 12], [2])
    locations.settle(small, 8)
    locations.settle(UnitKind("layer.0", 2), 10)
    assert (locations.of(small), locations.of(UnitKind("layer.0", 2))) == ([12], [10])
    locations.check_integrity()


def test_a_place_that_is_no_more_is_told_once() -> None:
    """What was captured over a place lives as long as units of its name and size come and go there."""
    told: list[tuple[int, int]] = []
    frames = Frames(Arena(SystemMemory(4 * PAGE)), UnitLocations(lambda *place: told.append(place)))
    for expert in "ab":
        frames.put(unit("layer.0", 2, expert))
        frames.drop(f"{expert}.layer.0")
    assert told == []
    frames.put(unit("embed", 4, "c"))
    frames.drop("c.embed")
    frames.put(unit("embed", 4, "d"))
    assert told == [(0, 2 * PAGE)]


def test_units_that_move_are_bound_anew_and_their_old_bytes_are_retired() -> None:
    retired: list[tuple[int, int]] = []
    frames = Frames(Arena(SystemMemory(4 * PAGE)), None, lambda flat: retired.append((offset_of(flat), flat.numel())))
    for name in "abcd":
        flat = frames.put(unit(name))
        assert flat is not None
        filled(flat, ord(name))
        frames[f".{name}"].payloads["expert"] = flat
    frames.drop(".a")
    frames.drop(".c")
    assert frames.put(unit("e", 2)) is None
    assert frames.compact(2 * PAGE, lambda digest: digest != ".d") == PAGE
    assert retired == [(0, PAGE), (2 * PAGE, PAGE), (PAGE, PAGE)]
    assert frames[".b"].payloads == {}
    assert int(frames[".b"].bytes.min()) == ord("b")
    assert frames[".d"].payloads
    assert frames.put(unit("e", 2)) is not None
    frames.check_integrity()


def _is_not_in(held: set[str], digest: str) -> bool:
    return digest not in held


@pytest.mark.parametrize("locations", [True, False], ids=["locations", "best fit"])
@pytest.mark.parametrize("seed", range(4))
def test_frames_hold_their_units_bytes_through_random_comings_goings_and_moves(seed: int, locations: bool) -> None:
    chance = random.Random(seed)
    frames = Frames(Arena(SystemMemory(40 * PAGE)), UnitLocations() if locations else None)
    contents: dict[str, int] = {}
    for step in range(400):
        if contents and chance.random() < 0.4:
            digest = chance.choice(list(contents))
            del contents[digest]
            frames.drop(digest)
        new = unit(f"layer.{chance.randrange(4)}", chance.randrange(1, 9), f"{step}")
        flat = frames.put(new)
        if flat is None and 40 * PAGE - frames.arena.used_bytes >= new.size_bytes:
            held = {digest for digest in contents if chance.random() < 0.2}
            moved = frames.compact(new.size_bytes, partial(_is_not_in, held))
            flat = None if moved is None else frames.put(new)
            assert moved is None or flat is not None
            assert held or moved is not None
        if flat is not None:
            contents[new.hash] = step % 256
            filled(flat, step % 256)
        frames.check_integrity()
        for digest, value in contents.items():
            assert frames[digest].bytes.unique().tolist() == [value]


# -- pinned memory, with a driver that only keeps books: what CUDA does with it is tests/gpu's


class Driver:
    """cudaHostRegister and its opposite as a table; refuses what overlaps, and the piece that it is told to."""

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
