"""KvBudget: which jobs can grow, which are preempted for that, and that the reserved bytes add up."""

from __future__ import annotations

import random

import pytest
from virtual_machine import BLOCK, blocks

from coe.scheduling.job import Job
from coe.scheduling.kv_budget import Growth, KvBudget


class Reserved:
    """Jobs of whole blocks, one block a byte, numbered in order of arrival; each can come to ten blocks."""

    def __init__(self, budget: int, *num_blocks: int) -> None:
        self.in_step: set[str] = set()
        self.kv = KvBudget(budget, lambda job: job.id in self.in_step)
        self.jobs = [
            Job(f"{at}", "a", BLOCK * n, 10 * BLOCK, blocks, 0.0, number=at) for at, n in enumerate(num_blocks)
        ]
        for job in self.jobs:
            self.kv.reserve(job)
            job.num_prefilled = job.num_prefill_tokens
        self.kv.check_integrity(self.jobs)

    def sampled(self, *at: int) -> list[Job]:
        """Let each of these jobs know one token more, for which it has to reserve."""
        for index in at:
            self.jobs[index].num_generated = 1
        return [self.jobs[index] for index in at]

    def growth(self, *at: int) -> tuple[list[str], list[str]]:
        found = self.kv.growth(self.sampled(*at))
        return [job.id for job in found.able], [job.id for job in found.preempted]


def test_what_is_free_is_enough_for_all() -> None:
    assert Reserved(9, 2, 2, 2).growth(0, 1, 2) == (["0", "1", "2"], [])


def test_the_youngest_is_preempted_and_what_it_frees_serves_the_next_jobs_too() -> None:
    assert Reserved(8, 1, 2, 2, 3).growth(0, 1, 2, 3) == (["0", "1", "2"], ["3"])


def test_as_many_are_preempted_as_it_takes_and_no_more() -> None:
    assert Reserved(3, 1, 1, 1).growth(0, 1, 2) == (["0"], ["2"])
    assert Reserved(4, 1, 1, 1, 1).growth(0, 1, 2, 3) == (["0", "1"], ["3", "2"])


def test_a_preempted_job_need_not_be_one_of_those_that_grow() -> None:
    assert Reserved(4, 1, 1, 2).growth(0, 1) == (["0", "1"], ["2"])


def test_older_jobs_and_jobs_in_a_step_are_not_preempted() -> None:
    held = Reserved(4, 2, 1, 1)
    held.in_step = {"2"}
    assert held.growth(1) == ([], [])
    assert held.growth(0) == (["0"], ["1"])


def test_a_job_that_needs_no_new_block_runs_where_one_that_does_is_left_out() -> None:
    held = Reserved(3, 1, 1, 1)
    held.in_step = {"2"}
    held.sampled(1)
    assert held.kv.growth([held.jobs[1]]) == Growth([], [])
    held.jobs[1].num_generated = 0
    assert held.kv.growth([held.jobs[1]]) == Growth([held.jobs[1]], [])


@pytest.mark.parametrize("seed", range(20))
def test_the_jobs_that_can_grow_fit_when_the_preempted_ones_are_freed(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(200):
        sizes = [chance.randrange(1, 5) for _ in range(chance.randrange(1, 8))]
        held = Reserved(max(sum(sizes) + chance.randrange(0, 4), sizes[0] + 1), *sizes)  # each fits alone
        held.in_step = {job.id for job in held.jobs if chance.random() < 0.2}
        asking = [at for at in range(len(sizes)) if f"{at}" not in held.in_step and chance.random() < 0.7]
        able, preempted = held.kv.growth(held.sampled(*asking))
        assert not {job.id for job in preempted} & held.in_step
        assert not {job.id for job in preempted} & {job.id for job in able}
        for job in preempted:
            assert any(job.number > older.number for older in able)
            held.kv.free(job)
        for job in able:
            held.kv.reserve(job)
        held.kv.check_integrity(held.jobs)
        if 0 in asking:
            assert held.jobs[0] in able or held.in_step, "the oldest finds room unless steps under way have it"


# -- headroom for jobs that have not begun


def waiting(job_id: str, expert: str, number: int, num_blocks: int = 1) -> Job:
    """A job of so many blocks that has not begun; it can come to no more."""
    return Job(job_id, expert, BLOCK * num_blocks, BLOCK * num_blocks, blocks, 0.0, number=number)


def test_spare_bytes_are_left_when_every_job_that_has_begun_has_grown_ahead() -> None:
    assert Reserved(10, 1, 2).kv.headroom({}).spare_bytes == 10 - 2 - 3


def test_an_older_overdue_job_of_another_expert_has_first_claim_to_the_spare_bytes() -> None:
    overdue = waiting("overdue", "b", number=5, num_blocks=3)
    headroom = Reserved(10, 1, 2).kv.headroom({"b": overdue})
    assert headroom.bytes_for(overdue) == 5
    assert headroom.bytes_for(waiting("older", "a", number=4)) == 5
    assert headroom.bytes_for(waiting("younger", "a", number=6)) == 2
    assert headroom.bytes_for(waiting("of its own expert", "b", number=6)) == 5


def test_an_overdue_job_may_preempt_younger_jobs_in_no_step_and_no_others() -> None:
    held = Reserved(8, 2, 2)  # a byte ahead each, so two are spare
    assert held.kv.headroom({}).preemptions_for(waiting("fits", "b", number=-1, num_blocks=2)) == []
    overdue = waiting("overdue", "b", number=0, num_blocks=4)
    assert held.kv.headroom({"b": overdue}).preemptions_for(overdue) == [held.jobs[1]]
    held.in_step = {"1"}
    assert held.kv.headroom({"b": overdue}).preemptions_for(overdue) is None
