"""The window of a lease whose expert is larger than its tier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from weight_caches import RealCache, names

from coe.weights.residency.claims import Claims
from coe.weights.residency.unit_index import UnitIndex
from coe.weights.unit import Manifest, Unit
from coe.weights.window import StreamingWindow


def units(*sizes: int) -> tuple[Unit, ...]:
    return tuple(Unit(f"layer.{at}", f"hash.{at}", size, ()) for at, size in enumerate(sizes))


def window(own: Sequence[Unit], budget_bytes: int) -> tuple[StreamingWindow, Claims]:
    index = UnitIndex()
    index.register("x", own, is_streamable=True)
    claims = Claims(budget_bytes, index)
    return StreamingWindow(own, claims.lease("x"), claims), claims


def test_the_window_holds_the_units_ahead_of_the_step_and_lets_those_behind_go() -> None:
    own = units(10, 10, 10, 10, 10, 10)
    found, claims = window(own, 40)  # two leading units, and room for two more
    assert found.units == [own[2], own[3]]
    found.move_to(3)
    assert found.units == [own[3], own[4]]
    assert [claims.protects(unit.hash) for unit in own] == [True, True, False, True, True, False]
    found.move_to(5)
    assert found.units == [own[5], own[2]], "after the last unit comes the next step's"
    found.close()
    assert [claims.protects(unit.hash) for unit in own] == [True, True, False, False, False, False]


def test_only_what_the_claim_or_the_window_has_stays() -> None:
    own = units(10, 10, 10, 10, 10, 10)
    found, _ = window(own, 40)
    assert [found.keeps(unit) for unit in own] == [True, True, True, True, False, False]


def test_an_expert_that_streams_may_have_the_same_bytes_under_two_names(tmp_path: Path) -> None:
    """The later one was taken for a unit beyond the window, and its step waited for ever."""
    real = RealCache(tmp_path, {}, host=5)
    own = [real.unit(name) for name in names("x", 8)]
    own[6] = replace(own[0], name="layer.6")
    own[7] = replace(own[3], name="layer.7")
    real.cache.register("x", Manifest("x", "x", "float32", {}, {}, "", tuple(own), {}), is_streamable=True)
    with real.cache.lease("x") as lease:
        for index, unit in enumerate(own):
            while lease.num_ready() <= index:
                assert real.cache.on_arrived(real.events.get(timeout=30)) == []
                real.cache.check_integrity()
            flat = lease.payload(index, lambda _, flat: flat)
            assert bytes(flat.numpy()) == real.store.path(unit).read_bytes()  # type: ignore[attr-defined]
        lease.rewind()
