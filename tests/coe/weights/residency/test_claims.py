"""Leases, pins and holds of one tier: what they keep, and what fits beside them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coe.weights.residency.claims import Claim, Claims
from coe.weights.residency.unit_index import UnitIndex
from coe.weights.unit import Unit


def units(name: str, *sizes: int) -> tuple[Unit, ...]:
    return tuple(Unit(f"layer.{at}", f"{name}.{at}", size, ()) for at, size in enumerate(sizes))


def claims_of(budget_bytes: int, **experts: tuple[Unit, ...]) -> Claims:
    """Experts in capitals run whole; all others can stream."""
    index = UnitIndex()
    for name, own in experts.items():
        index.register(name, own, is_streamable=name.islower())
    return Claims(budget_bytes, index)


def test_an_expert_that_fits_claims_all_its_units() -> None:
    own = units("a", 10, 10, 10)
    assert claims_of(30, a=own).claim("a") == Claim(own)


def test_a_larger_expert_claims_what_is_left_beside_a_window_for_two_neighbours() -> None:
    own = units("x", 10, 10, 20, 10, 10, 10)
    claims = claims_of(55, x=own)
    assert claims.is_larger("x")
    assert claims.claim("x") == Claim(own[:2], 30)


def test_the_last_unit_and_the_second_are_neighbours_as_one_step_follows_another() -> None:
    own = units("x", 10, 40, 10, 10, 40)
    assert claims_of(95, x=own).claim("x") == Claim(own[:1], 80)


def test_a_larger_expert_cannot_be_leased_if_it_runs_whole_or_leaves_no_room_for_its_first_unit() -> None:
    own = units("x", 10, 10, 10, 10)
    assert claims_of(30, x=own).can_lease("x")
    assert not claims_of(30, X=own).can_lease("X")
    assert not claims_of(29, x=own).can_lease("x")


def test_units_that_others_keep_cost_a_streaming_lease_nothing() -> None:
    own = units("x", 20, 20, 10, 10, 10, 10)
    claims = claims_of(70, base=own[:2], x=own)
    alone = claims.claim("x")
    assert alone == Claim(own[:2], 30)
    claims.pin("base")
    assert claims.claim("x") == alone


def test_the_same_bytes_under_another_name_are_paid_once() -> None:
    first, *rest = units("x", 10, 10, 10, 10, 10)
    own = (first, replace(first, name="again"), *rest)
    claim = claims_of(40, x=own).claim("x")
    assert claim == Claim(own[:3], 20)


def test_leases_of_one_expert_are_counted() -> None:
    own = units("a", 10, 10)
    claims = claims_of(20, a=own)
    first, second = claims.lease("a"), claims.lease("a")
    assert claims.promised_bytes() == 20
    claims.unlease("a", first)
    assert claims.protects("a.0")
    claims.unlease("a", second)
    assert not claims.protects("a.0")
    with pytest.raises(ValueError, match="not in list"):
        claims.unlease("a", second)


def test_a_lease_given_up_makes_room_unless_another_one_or_a_pin_keeps_the_units() -> None:
    claims = claims_of(20, a=units("a", 10, 10), b=units("b", 10, 10))
    claims.lease("a")
    assert not claims.can_lease("b")
    assert claims.can_lease("b", giving_up=["a"])
    claims.lease("a")
    assert not claims.can_lease("b", giving_up=["a"])


def test_a_hold_keeps_a_unit_and_promises_it_no_room() -> None:
    own = units("a", 10, 10)
    claims = claims_of(20, a=own, b=units("b", 10, 10))
    claims.hold(own[0])
    claims.hold(own[0])
    assert claims.protects("a.0")
    assert claims.can_lease("b"), "a hold ends by itself, when a copy or a step has gone on"
    claims.unhold(own[0])
    assert claims.protects("a.0")
    claims.unhold(own[0])
    assert not claims.protects("a.0")


def test_a_pin_protects_units_that_the_expert_shares() -> None:
    base = units("base", 10)
    claims = claims_of(40, a=(*base, *units("a", 10)), b=(*base, *units("b", 10)))
    claims.pin("a")
    assert (claims.protects("base.0"), claims.protects("b.0")) == (True, False)
    claims.unpin("a")
    assert not claims.protects("base.0")


def test_pins_against_an_expert_are_those_beside_which_it_fits_once_nothing_else_is_leased() -> None:
    claims = claims_of(50, a=units("a", 10, 10, 10), b=units("b", 10, 10), c=units("c", 10), x=units("x", *[10] * 6))
    claims.lease("b")
    assert claims.pins_against("a") == ()
    claims.pin("a")
    assert claims.pins_against("b") == ()  # whatever is leased may go
    assert claims.pins_against("x") == ("a",)
    assert claims.pins_against("a") == ()
    claims.pin("c")
    assert claims.pins_against("b") == ("a", "c")
    claims.unpin("c")
    assert claims.pins_against("b") == ()


def test_pins_that_share_an_experts_units_are_not_against_it() -> None:
    own = units("a", 10, 10, 10)
    claims = claims_of(40, a=own, b=(*own[:2], *units("b", 10)))
    claims.pin("a")
    assert claims.pins_against("b") == ()
