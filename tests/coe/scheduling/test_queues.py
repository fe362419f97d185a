"""The tables of jobs: arrival, what waits for nothing but its turn, deadlines and hints."""

from __future__ import annotations

from coe.scheduling.job import Job
from coe.scheduling.limits import Limits
from coe.scheduling.queues import HINT_S, JobQueues, RequestCounts


def add(queues: JobQueues, job_id: str, expert: str = "a", at_s: float = 0.0, donor: str | None = None) -> Job:
    job = Job(job_id, expert, 5, 10, lambda num_tokens: num_tokens, at_s, donor)
    queues.add(job)
    return job


def begin(job: Job) -> None:
    job.has_begun, job.reserved_bytes = True, 5


def test_jobs_are_numbered_in_order_of_arrival_over_all_experts() -> None:
    queues = JobQueues(Limits())
    assert [add(queues, "1").number, add(queues, "2", "b").number, add(queues, "3").number] == [1, 2, 3]
    assert list(queues.by_expert["a"].jobs) == ["1", "3"]
    queues.check_integrity()


def test_begun_jobs_are_requests_but_do_not_wait() -> None:
    queues = JobQueues(Limits())
    begin(add(queues, "1"))
    add(queues, "2", at_s=3.0)
    add(queues, "3", "b", at_s=1.0)
    assert queues.lengths() == {"a": 1, "b": 1}
    assert queues.num_requests("a") == 2
    assert (queues.waited_s(5.0), queues.waited_s(5.0, "a"), queues.waited_s(5.0, "c")) == (4.0, 2.0, 0.0)


def test_choices_of_one_request_count_once_and_run_when_one_has_begun() -> None:
    queues = JobQueues(Limits())
    for job_id in ("1", "1/1", "1/2", "2"):
        add(queues, job_id).request = job_id.partition("/")[0]
    assert queues.request_counts() == {"a": RequestCounts(2, 0)}
    begin(queues.jobs["1/1"])
    assert queues.request_counts() == {"a": RequestCounts(1, 1)}
    for job in list(queues.jobs.values()):
        queues.remove(job)
    assert queues.request_counts() == {"a": RequestCounts(0, 0)}


def test_a_removed_job_leaves_no_trace_in_the_lengths() -> None:
    queues = JobQueues(Limits())
    queues.remove(add(queues, "1"))
    assert queues.lengths() == {}
    assert queues.num_requests("a") == queues.num_requests("unknown") == 0


def test_a_job_is_eligible_when_its_prompt_donor_is_prefilled_or_gone() -> None:
    queues = JobQueues(Limits())
    donor, copy = add(queues, "1"), add(queues, "1/1", donor="1")
    assert not queues.is_eligible(copy)
    donor.advance(5)
    assert queues.is_eligible(copy)
    donor.restart()
    assert not queues.is_eligible(copy)
    queues.remove(donor)
    assert queues.is_eligible(copy)
    begin(copy)
    assert not queues.is_eligible(copy)


def test_the_oldest_eligible_job_of_an_expert_is_overdue_after_max_wait() -> None:
    queues = JobQueues(Limits(max_wait_s=2.0))
    begin(add(queues, "begun"))
    first = add(queues, "first", at_s=1.0)
    add(queues, "second", at_s=1.5)
    queue = queues.by_expert["a"]
    assert queues.overdue_job(queue, 2.9) is None
    assert queues.overdue_job(queue, 3.0) is first


def test_the_deadline_reaches_jobs_that_have_given_no_token_and_were_never_preempted() -> None:
    queues = JobQueues(Limits(deadline_s=10.0))
    waiting, decoding, preempted, cancelled = (add(queues, f"{number}", at_s=1.0) for number in range(4))
    decoding.advance(5)
    preempted.restart()
    cancelled.is_cancelled = True
    assert queues.next_deadline_s() == 11.0
    assert queues.expired(10.9) == []
    assert queues.expired(11.0) == [waiting]
    queues.remove(waiting)
    assert queues.next_deadline_s() is None


def test_hints_end_with_the_job_or_after_their_time() -> None:
    queues = JobQueues(Limits())
    queues.hint("a", 0.0)
    queues.hint("b", 1.0)
    assert queues.hinted(1.0) == ["a", "b"]
    assert queues.hinted(HINT_S) == ["b"]
    job = add(queues, "1", "b")
    queues.remove(job)
    assert queues.hinted(HINT_S) == []


def test_an_expert_that_has_jobs_is_not_hinted_again() -> None:
    queues = JobQueues(Limits())
    add(queues, "1")
    queues.hint("a", 0.0)
    assert queues.hinted(0.0) == []


def test_a_job_has_its_own_deadline_or_everybodys() -> None:
    queues = JobQueues(Limits(deadline_s=10.0))
    add(queues, "1")
    hasty = add(queues, "2")
    hasty.deadline_s = 0.5
    assert queues.next_deadline_s() == 0.5
    assert [job.id for job in queues.expired(1.0)] == ["2"]
    assert [job.id for job in queues.expired(10.0)] == ["1", "2"]


def test_a_waiting_job_has_a_place_in_its_experts_queue() -> None:
    queues = JobQueues(Limits())
    first = add(queues, "1")
    add(queues, "2", "b")
    add(queues, "3")
    assert [queues.position(name) for name in ("1", "2", "3", "unknown")] == [1, 1, 2, 0]
    begin(first)
    assert [queues.position(name) for name in ("1", "3")] == [0, 1]
