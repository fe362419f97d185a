"""The value policy alone: how it ranks experts."""

from __future__ import annotations

from collections.abc import Iterable

from outlooks import FakeWeights, Moment

from coe.scheduling.queues import ExpertQueue
from coe.scheduling.value import MAX_EXPECTED, ValuePolicy

POLICY = ValuePolicy()


def names(queues: Iterable[ExpertQueue]) -> list[str]:
    return [queue.expert for queue in queues]


# -- to lease


def test_the_expert_with_more_waiting_jobs_is_leased_first() -> None:
    moment = Moment(FakeWeights(resident="ab"))
    for job_id, expert in (("1", "a"), ("2", "b"), ("3", "b")):
        moment.arrive(job_id, expert)
    assert names(POLICY.to_lease(moment.outlook())) == ["b", "a"]


def test_the_expert_whose_job_has_waited_longer_is_leased_first() -> None:
    moment = Moment(FakeWeights(resident="ab"))
    moment.arrive("1", "a", at_s=6.0)
    moment.arrive("2", "b", at_s=4.0)
    assert names(POLICY.to_lease(moment.outlook())) == ["b", "a"]


def test_loading_counts_among_the_cost_of_beginning() -> None:
    """A load of 1 s makes beginning cost 21 times a switch, so it takes more than 21 times the work."""
    moment = Moment(FakeWeights(resident=["warm"], load_s=1.0))
    moment.arrive("w", "warm")
    for number in range(21):
        moment.arrive(f"c{number}", "cold")
    assert names(POLICY.to_lease(moment.outlook())) == ["warm", "cold"]
    moment.arrive("c21", "cold")
    assert names(POLICY.to_lease(moment.outlook())) == ["cold", "warm"]


def test_overdue_jobs_go_first_in_order_of_arrival_whatever_the_others_are_worth() -> None:
    moment = Moment(FakeWeights(resident=["worth_most"]), max_wait_s=3.0)
    moment.arrive("2", "second", at_s=6.0)
    moment.arrive("1", "first", at_s=5.0)
    for number in range(50):
        moment.arrive(f"r{number}", "worth_most", at_s=8.0)
    assert names(POLICY.to_lease(moment.outlook())) == ["first", "second", "worth_most"]


def test_leased_experts_and_those_without_a_job_that_can_run_are_not_leased() -> None:
    moment = Moment(kv_bytes=100)
    moment.arrive("1", "leased")
    moment.lease("leased")
    holder = moment.arrive("2", "paused", prompt=90)
    moment.start(holder)
    moment.arrive("3", "waits_for_kv", prompt=50)
    assert names(POLICY.to_lease(moment.outlook())) == ["paused"]


# -- to expect


def test_queued_experts_are_expected_in_the_order_of_their_leases_and_hinted_ones_after_them() -> None:
    moment = Moment()
    moment.arrive("1", "a", at_s=6.0)
    moment.arrive("2", "b", at_s=4.0)
    assert POLICY.to_expect(moment.outlook(), ["c"]) == ("b", "a", "c")


def test_only_so_many_experts_are_expected() -> None:
    hinted = [f"{number}" for number in range(MAX_EXPECTED + 3)]
    assert POLICY.to_expect(Moment().outlook(), hinted) == tuple(hinted[:MAX_EXPECTED])


# -- to release


def test_the_lease_of_the_least_worth_is_given_up_first() -> None:
    moment = Moment(FakeWeights(resident="abc"))
    for job_id, expert in (("1", "a"), ("2", "a"), ("3", "b"), ("4", "c"), ("5", "c"), ("6", "c")):
        moment.arrive(job_id, expert)
    leased = [moment.lease(expert) for expert in "abc"]
    assert names(POLICY.to_release(moment.outlook(), leased)) == ["b", "a", "c"]


# -- to step


def test_leased_experts_take_turns_by_jobs_times_time_since_their_last_step() -> None:
    moment = Moment(FakeWeights(resident="abc"))
    for job_id, expert in (("1", "a"), ("2", "b"), ("3", "b"), ("4", "c")):
        moment.arrive(job_id, expert)
    moment.lease("a", last_step_s=7.0)
    moment.lease("b", last_step_s=8.0)
    moment.lease("c", last_step_s=9.0)
    outlook = moment.outlook()
    chosen = POLICY.to_step(outlook)
    assert chosen is moment.queues.by_expert["b"]  # 2 jobs x 2 s, against 1 x 3 s and 1 x 1 s
    chosen.last_step_s = 10.0
    assert POLICY.to_step(outlook) is moment.queues.by_expert["a"]


def test_an_expert_with_the_oldest_overdue_job_steps_first() -> None:
    moment = Moment(FakeWeights(resident="abc"), max_wait_s=3.0)
    moment.arrive("1", "b", at_s=6.0)
    moment.arrive("2", "c", at_s=5.0)
    for number in range(9):
        moment.arrive(f"a{number}", "a", at_s=9.0)
    for expert in "abc":
        moment.lease(expert)
    chosen = POLICY.to_step(moment.outlook())
    assert chosen is moment.queues.by_expert["c"]


def test_an_expert_steps_on_its_leading_units_and_waits_where_a_unit_is_absent() -> None:
    moment = Moment(FakeWeights(ready={"a": 2}))
    job = moment.arrive("1", "a")
    queue = moment.lease("a")
    assert POLICY.to_step(moment.outlook()) is queue
    moment.step("a", job, stopped_at=2)
    assert POLICY.to_step(moment.outlook()) is None
    moment.weights.ready["a"] = 3
    assert POLICY.to_step(moment.outlook()) is queue


def test_no_expert_steps_without_a_lease_a_unit_or_a_job_that_can_run() -> None:
    moment = Moment(FakeWeights(resident=["unleased", "waits_for_kv"]), kv_bytes=100)
    assert POLICY.to_step(moment.outlook()) is None
    moment.start(moment.arrive("1", "unleased", prompt=90))
    moment.arrive("2", "absent")
    moment.lease("absent")
    moment.arrive("3", "waits_for_kv", prompt=50)
    moment.lease("waits_for_kv")
    assert POLICY.to_step(moment.outlook()) is None


def test_batches_are_as_large_as_the_limit_allows() -> None:
    assert POLICY.batch_size(7) == 7
