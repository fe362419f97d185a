"""The next batch of an expert: order, chunks, batch slots, prompt donors and KV."""

from __future__ import annotations

from outlooks import Moment

from coe.scheduling.batch import Batch


def batch_of(moment: Moment, expert: str = "a", **named: float) -> Batch:
    return moment.outlook(**named).batch(moment.queues.by_expert[expert])  # type: ignore[arg-type]


def test_decoding_jobs_bring_one_token_each_and_prompts_fill_the_step_in_chunks() -> None:
    moment = Moment(max_step_tokens=10)
    moment.arrive("waits", "a", prompt=20)
    moment.start(moment.arrive("half", "a", prompt=8), num_prefilled=4)
    moment.start(moment.arrive("decodes", "a"))
    assert batch_of(moment) == Batch({"decodes": 1, "half": 4, "waits": 5}, [])
    assert list(batch_of(moment).num_tokens) == ["decodes", "half", "waits"]


def test_jobs_begin_in_order_of_arrival_while_there_are_batch_slots() -> None:
    moment = Moment()
    for number in range(5):
        moment.arrive(f"{number}", "a")
    moment.start(moment.queues.jobs["0"])
    assert list(batch_of(moment, batch_size=3).num_tokens) == ["0", "1", "2"]


def test_a_job_with_a_prompt_donor_waits_for_its_prompt_and_then_brings_one_token() -> None:
    moment = Moment()
    donor = moment.start(moment.arrive("donor", "a", prompt=8), num_prefilled=4)
    moment.arrive("copy", "a", prompt=8, donor="donor")
    assert batch_of(moment).num_tokens == {"donor": 4}
    donor.num_prefilled = 8
    assert batch_of(moment).num_tokens == {"donor": 1, "copy": 1}
    donor_gone = Moment()
    donor_gone.arrive("copy", "a", prompt=8, donor="donor")
    assert batch_of(donor_gone).num_tokens == {"copy": 8}


def test_jobs_begin_as_far_as_the_headroom_reaches() -> None:
    """Each needs 10 bytes at its longest: of 35, 10 are reserved."""
    moment = Moment(kv_bytes=35)
    moment.start(moment.arrive("0", "b"))
    for number in range(1, 4):
        moment.arrive(f"{number}", "a")
    assert list(batch_of(moment).num_tokens) == ["1", "2"]


def test_an_overdue_job_preempts_younger_ones_and_goes_before_other_prompts() -> None:
    moment = Moment(kv_bytes=40, max_step_tokens=8, max_wait_s=5.0)
    moment.start(moment.arrive("older", "a", prompt=15), num_prefilled=0)
    moment.arrive("overdue", "a", at_s=1.0, prompt=6, most=4)
    younger = moment.start(moment.arrive("younger", "b", at_s=2.0, prompt=6, most=9))
    assert batch_of(moment, now_s=5.0) == Batch({"older": 8}, [])
    found = batch_of(moment, now_s=6.0)
    assert found == Batch({"overdue": 6, "older": 2}, [younger])
    assert list(found.num_tokens) == ["overdue", "older"]


def test_no_job_begins_in_a_step_for_which_a_decoding_job_preempts_another() -> None:
    moment = Moment(kv_bytes=20)
    older = moment.start(moment.arrive("older", "a", prompt=10))
    younger = moment.start(moment.arrive("younger", "a", prompt=10))
    moment.arrive("waits", "a", prompt=1, most=0)
    older.num_generated = 1
    assert batch_of(moment) == Batch({"older": 1}, [younger])


def test_composing_a_batch_changes_nothing() -> None:
    moment = Moment()
    job = moment.arrive("1", "a")
    batch_of(moment)
    assert not job.is_started
    assert not moment.queues.by_expert["a"].is_in_step


def test_a_whole_prompt_is_not_cut_and_may_have_a_longer_step_to_itself() -> None:
    moment = Moment(max_step_tokens=10)
    for name, prompt in (("first", 4), ("second", 6), ("third", 5), ("long", 25)):
        moment.arrive(name, "a", prompt=prompt).is_whole = True
    assert batch_of(moment).num_tokens == {"first": 4, "second": 6}
    for name in ("first", "second"):
        moment.queues.remove(moment.queues.jobs[name])
    assert batch_of(moment).num_tokens == {"third": 5}
    moment.queues.remove(moment.queues.jobs["third"])
    assert batch_of(moment).num_tokens == {"long": 25}


def test_a_job_without_kv_begins_when_the_budget_is_taken() -> None:
    moment = Moment(kv_bytes=70)
    moment.start(moment.arrive("big", "b", prompt=60, most=10))
    job = moment.arrive("text", "a", prompt=8)
    job.kv_bytes, job.is_whole = (lambda _: 0), True
    assert batch_of(moment).num_tokens == {"text": 8}
    moment.kv.reserve(job)
    assert job.is_started
    moment.kv.free(job)
    assert not job.is_started
