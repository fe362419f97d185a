"""The frames of a tier: units keep their bytes, and units of one name and size take each other's place."""

from __future__ import annotations

import random
from functools import partial

import pytest

from coe.weights.memory.allocation import SystemMemory
from coe.weights.memory.arena import Arena, offset_of
from coe.weights.memory.frames import Frames
from coe.weights.memory.unit_location import UnitLocations
from coe.weights.unit import ALIGNMENT, Unit

PAGE = ALIGNMENT


def unit(name: str, num_pages: int = 1, expert: str = "") -> Unit:
    return Unit(name, f"{expert}.{name}", num_pages * PAGE, ())


def test_an_expert_of_the_same_shape_gets_the_addresses_of_the_one_that_left() -> None:
    """In any order of its units: a graph captured over these addresses serves it."""
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


def test_a_place_that_is_no_more_is_told_once() -> None:
    """A graph captured over a place lives as long as units of its name and size come and go there."""
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
        flat.fill_(ord(name))
        frames[f".{name}"].payloads["expert"] = flat
    frames.drop(".a")
    frames.drop(".c")
    assert frames.put(unit("e", 2)) is None
    assert frames.compact(2 * PAGE, lambda unit_hash: unit_hash != ".d") == PAGE
    assert retired == [(0, PAGE), (2 * PAGE, PAGE), (PAGE, PAGE)]
    assert frames[".b"].payloads == {}
    assert int(frames[".b"].bytes.min()) == ord("b")
    assert frames[".d"].payloads
    assert frames.put(unit("e", 2)) is not None
    frames.check_integrity()


def _is_not_in(held: set[str], unit_hash: str) -> bool:
    return unit_hash not in held


@pytest.mark.parametrize("locations", [True, False], ids=["locations", "best fit"])
@pytest.mark.parametrize("seed", range(4))
def test_frames_hold_their_units_bytes_through_random_comings_goings_and_moves(seed: int, locations: bool) -> None:
    chance = random.Random(seed)
    frames = Frames(Arena(SystemMemory(40 * PAGE)), UnitLocations() if locations else None)
    contents: dict[str, int] = {}
    for step in range(400):
        if contents and chance.random() < 0.4:
            unit_hash = chance.choice(list(contents))
            del contents[unit_hash]
            frames.drop(unit_hash)
        new = unit(f"layer.{chance.randrange(4)}", chance.randrange(1, 9), f"{step}")
        flat = frames.put(new)
        if flat is None and 40 * PAGE - frames.arena.used_bytes >= new.size_bytes:
            held = {unit_hash for unit_hash in contents if chance.random() < 0.2}
            moved = frames.compact(new.size_bytes, partial(_is_not_in, held))
            flat = None if moved is None else frames.put(new)
            assert moved is None or flat is not None
            assert held or moved is not None
        if flat is not None:
            contents[new.hash] = step % 256
            flat.fill_(step % 256)
        frames.check_integrity()
        for unit_hash, value in contents.items():
            assert frames[unit_hash].bytes.unique().tolist() == [value]
