"""The bytes of one tier: a unit takes them from the moment it starts moving."""

from __future__ import annotations

import pytest

from coe.weights.residency.resident_units import ResidentUnits
from coe.weights.unit import Unit

A, B = Unit("a", "a", 30, ()), Unit("b", "b", 40, ())


def test_a_unit_is_absent_then_moving_then_ready_then_absent() -> None:
    residents = ResidentUnits(100)
    seen = []
    for change in (
        lambda: None,
        lambda: residents.reserve(A),
        lambda: residents.commit(A),
        lambda: residents.drop("a"),
    ):
        change()
        seen.append((residents.is_absent(A), residents.is_moving(A), residents.is_ready(A), residents.used_bytes))
        residents.check_integrity()
    assert seen == [
        (True, False, False, 0),
        (False, True, False, 30),
        (False, False, True, 30),
        (True, False, False, 0),
    ]


def test_what_is_on_its_way_leaves_no_room_for_others() -> None:
    residents = ResidentUnits(60)
    residents.reserve(A)
    assert residents.excess_bytes(40) == 10
    assert residents.excess_bytes(30) == 0
    with pytest.raises(AssertionError, match="without room"):
        residents.reserve(B)
    with pytest.raises(AssertionError, match="already here"):
        residents.reserve(A)
