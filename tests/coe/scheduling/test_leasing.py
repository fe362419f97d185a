"""Leases: one a decision, one load at a time, and taken only from experts that have had their slice or cannot step."""

from __future__ import annotations

import pytest
from outlooks import FakeWeights, Moment

from coe.scheduling.effects import Acquire, Release
from coe.scheduling.leasing import Leasing
from coe.scheduling.value import ValuePolicy


def lease_one(moment: Moment, slice_steps: int = 4) -> list[Release | Acquire]:
    return Leasing(moment.queues, moment.weights, ValuePolicy(), slice_steps).lease_one(moment.outlook())


def test_an_expert_that_fits_is_leased_and_no_lease_is_closed() -> None:
    moment = Moment(FakeWeights(resident="ab"))
    for expert in "abc":
        moment.arrive(expert, expert)
    moment.lease("a", num_steps=99)
    assert lease_one(moment) == [Acquire("b")]
    assert moment.queues.by_expert["b"].is_leased


def test_while_an_expert_loads_only_resident_ones_are_leased() -> None:
    moment = Moment(FakeWeights(resident="a", ready={"loads": 2}))
    for expert in ("loads", "cold", "a"):
        moment.arrive(expert, expert)
    moment.lease("loads")
    assert lease_one(moment) == [Acquire("a")]
    assert lease_one(moment) == []
    moment.weights.ready["loads"] = 4
    assert lease_one(moment) == [Acquire("cold")]


@pytest.mark.parametrize(("num_steps", "given_up"), [(3, False), (4, True)])
def test_an_expert_gives_up_its_lease_after_its_slice(num_steps: int, given_up: bool) -> None:
    moment = Moment(FakeWeights(resident="ab", room=1))
    moment.arrive("1", "a")
    moment.arrive("2", "b")
    moment.lease("a", num_steps=num_steps)
    assert lease_one(moment) == ([Release("a"), Acquire("b")] if given_up else [])
    assert moment.queues.by_expert["a"].is_leased != given_up


@pytest.mark.parametrize(("num_steps", "given_up"), [(0, False), (1, True)])
def test_for_an_overdue_job_the_slice_is_one_step(num_steps: int, given_up: bool) -> None:
    moment = Moment(FakeWeights(resident="ab", room=1), max_wait_s=5.0)
    moment.arrive("1", "a", at_s=9.0)
    moment.arrive("2", "b", at_s=5.0)
    moment.lease("a", num_steps=num_steps)
    assert lease_one(moment) == ([Release("a"), Acquire("b")] if given_up else [])


def test_an_expert_that_cannot_step_gives_up_its_lease_at_once() -> None:
    moment = Moment(FakeWeights(resident="ab", room=1), kv_bytes=30)
    moment.start(moment.arrive("1", "b", prompt=20))
    moment.arrive("2", "a", prompt=20)
    moment.lease("a")
    assert lease_one(moment) == [Release("a"), Acquire("b")]


def test_an_expert_in_a_step_keeps_its_lease() -> None:
    moment = Moment(FakeWeights(resident="ab", room=1))
    job = moment.start(moment.arrive("1", "a"))
    moment.arrive("2", "b")
    moment.lease("a", num_steps=99)
    moment.step("a", job)
    assert lease_one(moment) == []


def test_as_many_leases_are_closed_as_it_takes_and_no_more() -> None:
    moment = Moment(FakeWeights(resident="abcd", room=2))
    for expert in "abbccd":
        moment.arrive(f"{len(moment.queues.jobs)}", expert)
    moment.lease("a", num_steps=9)
    moment.lease("b", num_steps=9)
    assert lease_one(moment) == [Release("a"), Acquire("c")]


def test_experts_without_jobs_give_up_their_leases() -> None:
    moment = Moment()
    job = moment.arrive("1", "a")
    moment.arrive("2", "b")
    moment.lease("a")
    moment.lease("b")
    moment.queues.remove(job)
    leasing = Leasing(moment.queues, moment.weights, ValuePolicy(), 4)
    assert leasing.release_idle() == [Release("a")]
    assert leasing.release_idle() == []
