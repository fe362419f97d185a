"""What has come to a tier and left it: every unit counts for one expert, and a change is seen once."""

from __future__ import annotations

from coe.weights.residency.unit_index import UnitIndex
from coe.weights.tier_log import Moved, TierLog
from coe.weights.unit import Unit


def unit(name: str, size_bytes: int) -> Unit:
    return Unit(name, name, size_bytes, ())


def log_of(**experts: list[Unit]) -> TierLog:
    units = UnitIndex()
    for name, own in experts.items():
        units.register(name, own)
    return TierLog(units)


SHARED, OWN = unit("shared", 10), unit("own", 5)


def test_a_shared_unit_counts_for_its_first_expert_and_changes_both() -> None:
    log = log_of(a=[SHARED, OWN], b=[SHARED])
    log.reserved(SHARED)
    log.arrived(SHARED)
    log.arrived(OWN)
    assert log.arrivals() == {"a": Moved(2, 15)}
    assert log.take_changed() == {"a", "b"}
    assert log.take_changed() == set()
    log.evicted("own", "room")
    log.evicted("shared", "unload")
    log.evicted("own", "room")
    assert log.evictions() == {("a", "room"): Moved(2, 10), ("a", "unload"): Moved(1, 10)}
    assert log.take_changed() == {"a", "b"}


def test_what_was_read_stays_as_it_was() -> None:
    log = log_of(a=[OWN])
    log.arrived(OWN)
    before = log.arrivals()
    log.arrived(OWN)
    assert before == {"a": Moved(1, 5)}
