"""Places where units of a name and size have been."""

from __future__ import annotations

from coe.weights.memory.unit_location import UnitKind, UnitLocations


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
