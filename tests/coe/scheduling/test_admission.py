"""Admission: every reason to refuse a request on arrival, and that nothing of a refused request stays."""

from __future__ import annotations

import pytest
from outlooks import FakeWeights

from coe.errors import CoeError, DeadlineError, InvalidRequestError, OverloadedError, PinnedOutError
from coe.scheduling.job import Job
from coe.scheduling.limits import Limits
from coe.scheduling.scheduler import Scheduler
from coe.scheduling.value import ValuePolicy


def scheduler(weights: FakeWeights | None = None, **limits: float) -> Scheduler:
    limited = Limits(**{"kv_bytes": 100, "max_queue": 4, "max_queue_per_expert": 3, **limits})  # type: ignore[arg-type]
    return Scheduler(weights or FakeWeights(), limited, ValuePolicy())


def jobs(name: str, num: int = 1, expert: str = "a", at_s: float = 0.0, num_tokens: int = 10) -> list[Job]:
    """Jobs of one request that take a byte of KV a token."""
    return [Job(f"{name}/{at}", expert, 5, num_tokens, lambda size: size, at_s) for at in range(num)]


def refusal(of: Scheduler, asked: list[Job], now_s: float = 0.0) -> CoeError:
    before = dict(of.queues.jobs)
    with pytest.raises(CoeError) as caught:
        of.admit(asked, now_s)
    assert of.queues.jobs == before
    of.check_integrity()
    return caught.value


def test_all_choices_of_a_request_are_admitted_or_none() -> None:
    ours = scheduler()
    ours.admit(jobs("1", 2), 0.0)
    assert isinstance(refusal(ours, jobs("2", 2)), OverloadedError)
    ours.admit(jobs("3", 1), 0.0)
    assert list(ours.queues.jobs) == ["1/0", "1/1", "3/0"]


def test_a_full_queue_of_one_expert_names_it_and_that_of_all_names_none() -> None:
    ours = scheduler()
    ours.admit(jobs("1", 3), 0.0)
    full = refusal(ours, jobs("2"))
    assert (type(full), full.expert) == (OverloadedError, "a")
    assert "3 of 3 places in the queue for expert 'a' are taken ([scheduler] max_queue_per_expert)" in str(full)
    ours.admit(jobs("3", expert="b"), 0.0)
    full = refusal(ours, jobs("4", expert="c"))
    assert (type(full), full.expert) == (OverloadedError, None)
    assert "4 of 4 places in the queue are taken ([scheduler] max_queue)" in str(full)


def test_begun_jobs_take_no_place_in_the_queue() -> None:
    ours = scheduler(FakeWeights(resident=["a"]), max_queue_per_expert=1)
    ours.admit(jobs("1"), 0.0)
    while not ours.queues.jobs["1/0"].is_started:
        ours.decide(0.0)
    ours.admit(jobs("2"), 0.0)
    assert isinstance(refusal(ours, jobs("3")), OverloadedError)


@pytest.mark.parametrize(("now_s", "retry_after_s"), [(0.2, 1.0), (7.5, 7.5), (200.0, 60.0)])
def test_who_is_refused_by_a_queue_waits_as_long_as_its_oldest_job_has(now_s: float, retry_after_s: float) -> None:
    ours = scheduler()
    ours.admit(jobs("1", 3), 0.0)
    assert refusal(ours, jobs("2", at_s=now_s), now_s).retry_after_s == retry_after_s


def test_what_can_never_run_is_the_requests_own_fault_also_while_queues_are_full() -> None:
    ours = scheduler()
    ours.admit(jobs("1", 3), 0.0)
    many = refusal(ours, jobs("2", 4))
    assert isinstance(many, InvalidRequestError)
    assert many.param == "n"
    assert "4 sequences and the queue holds 3" in str(many)
    long = refusal(ours, jobs("3", num_tokens=101))
    assert isinstance(long, InvalidRequestError)
    assert long.param == "max_tokens"
    assert "101 bytes of KV cache and the budget is 100" in str(long)


def test_a_deadline_that_is_past_is_about_no_expert_and_one_that_a_load_cannot_meet_is_about_this_one() -> None:
    ours = scheduler(FakeWeights(resident=["warm"], load_s=50.0), deadline_s=30.0)
    past = refusal(ours, jobs("1", expert="warm"), now_s=30.0)
    assert (type(past), past.expert) == (DeadlineError, None)
    ours.admit(jobs("2", expert="warm"), 29.9)
    ours.admit(jobs("3", expert="cold"), 1.0)  # an estimate of 50 s may be wrong
    late = refusal(ours, jobs("4", expert="cold"), now_s=6.0)
    assert (type(late), late.expert) == (DeadlineError, "cold")
    assert "takes about 50.0 s to load, and 24.0 s of the deadline of 30 s are left" in str(late)


def test_pins_that_leave_no_room_are_named_at_once() -> None:
    weights = FakeWeights()
    ours = scheduler(weights)
    ours.admit(jobs("1"), 0.0)
    weights.pins = ("x", "y")
    out = refusal(ours, jobs("2"))
    assert isinstance(out, PinnedOutError)
    assert (out.expert, out.pins) == ("a", ("x", "y"))
    assert str(out) == "expert 'a': there is no room for it beside what is pinned: x, y; unpin one of them"


def test_a_pin_ends_the_jobs_that_it_leaves_no_room_for() -> None:
    weights = FakeWeights()
    ours = scheduler(weights)
    ours.admit(jobs("1", 2), 0.0)
    assert ours.pinned() == []
    weights.pins = ("x",)
    assert [(fail.job_id, type(fail.error)) for fail in ours.pinned()] == [
        ("1/0", PinnedOutError),
        ("1/1", PinnedOutError),
    ]
    assert not ours.queues.jobs
    ours.check_integrity()
