"""Which experts use which units."""

from __future__ import annotations

from coe.weights.residency.unit_index import UnitIndex, Use, total_bytes
from coe.weights.unit import Unit


def unit(name: str, unit_hash: str, size_bytes: int = 10) -> Unit:
    return Unit(name, unit_hash, size_bytes, ())


def test_experts_that_share_bytes_share_units_whatever_they_call_them() -> None:
    index = UnitIndex()
    index.register("a", [unit("embed", "common", 30), unit("layer.0", "a")])
    index.register("b", [unit("layer.0", "b"), unit("layer.1", "common", 30)])
    assert index.uses("common") == [Use("a", 0), Use("b", 1)]
    assert index.position("common") == 0
    assert index.is_shared(unit("", "common"))
    assert not index.is_shared(unit("", "b"))
    assert (index.shared_bytes("a"), index.shared_bytes("b")) == (30, 30)
    assert index.is_used_by("common", ["b", "c"])
    assert not index.is_used_by("a", ["b", "c"])


def test_a_unit_that_one_expert_runs_twice_is_not_shared_and_its_bytes_count_once() -> None:
    index = UnitIndex()
    own = [unit("layer.0", "x"), unit("layer.1", "y"), unit("layer.2", "x")]
    index.register("a", own)
    assert not index.is_shared(own[0])
    assert [use.position for use in index.uses("x")] == [0, 2]
    assert total_bytes(own) == 20
