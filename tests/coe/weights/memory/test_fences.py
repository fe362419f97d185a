"""A write waits for the queued work that may still read the same bytes, and for nothing else."""

from __future__ import annotations

from coe.weights.memory.fences import Fences


class Point:
    def __init__(self) -> None:
        self.is_over = False

    def query(self) -> bool:
        return self.is_over

    def synchronize(self) -> None:
        assert self.is_over


def test_a_write_waits_for_the_last_event_of_bytes_that_it_overlaps() -> None:
    fences: Fences[Point] = Fences()
    first, second, third = Point(), Point(), Point()
    fences.add(0, 10, first)
    fences.add(5, 15, second)
    fences.add(20, 30, third)
    assert fences.before(0, 5) is first
    assert fences.before(0, 6) is second
    assert fences.before(15, 20) is None, "neither the end of one range nor the start of another is in it"
    assert fences.before(0, 30) is third


def test_events_that_are_over_are_waited_for_no_more() -> None:
    fences: Fences[Point] = Fences()
    first, second = Point(), Point()
    fences.add(0, 10, first)
    fences.add(0, 10, second)
    first.is_over = True
    assert fences.before(0, 10) is second
    second.is_over = True
    assert fences.before(0, 10) is None
