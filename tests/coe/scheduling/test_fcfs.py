"""The first-come-first-served policy alone: only the first job's expert has a turn, and only when it is whole."""

from __future__ import annotations

from outlooks import FakeWeights, Moment

from coe.scheduling.fcfs import FcfsPolicy

POLICY = FcfsPolicy()


def test_only_the_expert_of_the_oldest_job_is_leased() -> None:
    moment = Moment(FakeWeights(resident="b"))
    moment.arrive("1", "a")
    for number in range(9):
        moment.arrive(f"b{number}", "b")
    assert [queue.expert for queue in POLICY.to_lease(moment.outlook())] == ["a"]
    moment.lease("a")
    assert POLICY.to_lease(moment.outlook()) == []


def test_a_job_that_has_begun_comes_before_older_ones_that_wait() -> None:
    moment = Moment()
    moment.arrive("preempted", "a")
    moment.start(moment.arrive("begun", "b"))
    assert [queue.expert for queue in POLICY.to_lease(moment.outlook())] == ["b"]


def test_nothing_is_leased_or_stepped_without_a_job() -> None:
    outlook = Moment().outlook()
    assert POLICY.to_lease(outlook) == []
    assert POLICY.to_step(outlook) is None


def test_the_first_jobs_expert_steps_when_all_its_units_are_there_and_no_other_expert_does() -> None:
    moment = Moment(FakeWeights(resident="b", ready={"a": 3}))
    moment.arrive("1", "a")
    moment.arrive("2", "b")
    queue = moment.lease("a")
    moment.lease("b")
    assert POLICY.to_step(moment.outlook()) is None
    moment.weights.ready["a"] = 4
    assert POLICY.to_step(moment.outlook()) is queue


def test_a_step_under_way_is_resumed_when_its_unit_has_arrived() -> None:
    moment = Moment(FakeWeights(ready={"a": 2}))
    job = moment.start(moment.arrive("1", "a"))
    queue = moment.lease("a")
    moment.step("a", job, stopped_at=2)
    assert POLICY.to_step(moment.outlook()) is None
    moment.weights.ready["a"] = 3
    assert POLICY.to_step(moment.outlook()) is queue


def test_no_expert_is_expected_ahead() -> None:
    moment = Moment()
    moment.arrive("1", "a")
    assert POLICY.to_expect(moment.outlook(), ["b"]) == ()


def test_a_batch_is_one_job() -> None:
    assert POLICY.batch_size(7) == 1


def test_the_lease_of_the_least_worth_is_given_up_first() -> None:
    moment = Moment(FakeWeights(resident="ab"))
    for job_id, expert in (("1", "a"), ("2", "a"), ("3", "b")):
        moment.arrive(job_id, expert)
    leased = [moment.lease(expert) for expert in "ab"]
    assert [queue.expert for queue in POLICY.to_release(moment.outlook(), leased)] == ["b", "a"]
