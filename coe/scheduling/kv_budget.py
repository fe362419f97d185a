"""Who may have how many bytes of the KV cache while sequences grow.

A job reserves its prompt when it begins and then, step by step, the blocks that its answer reaches; what `max_tokens`
would allow is not reserved. Memory belongs to the oldest: a job that finds too little takes it from jobs that came
after it, have begun and are in no step, the youngest of all first, whoever's they are. Theirs is computed again
later. If all of them together have too little it is left out of the step and keeps what it has.

Why all end: a job is preempted for an older one only, and only in the step in which that one grows or begins, so each
preemption is an older one's progress, no two are preempted for each other and the oldest never is. Any request fits
into the budget alone (else it is refused on arrival), so the oldest finds room as soon as the steps under way have
ended, goes on, and ends; then the next one is the oldest. Nobody begins, for the first time or again, unless it and
all that have begun could have AHEAD_TOKENS more than they know. So beginning forces nobody out soon after, and a job
that is alone may always begin.

Pure, and only about bytes: knows nothing about experts or time. What ended answers leave behind (engine/prefixes.py)
has only what is not reserved here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from coe.scheduling.job import Job

__all__ = ["Growth", "KvBudget"]


class Growth(NamedTuple):
    """Which jobs find room for their next token, and which are preempted for it."""

    able: list[Job]
    preempted: list[Job]


class KvBudget:
    """The jobs that have begun and what they have reserved. `is_in_step` says whose KV a step is using."""

    def __init__(self, budget_bytes: int, is_in_step: Callable[[Job], bool]) -> None:
        self.budget_bytes = budget_bytes
        self.used_bytes = 0
        self._begun: dict[str, Job] = {}
        self._is_in_step = is_in_step

    @property
    def spare_bytes(self) -> int:
        """What jobs that have not begun may count on: all that were free if those that have were AHEAD_TOKENS on."""
        return self.budget_bytes - sum(job.ahead_bytes for job in self._begun.values())

    def reserve(self, job: Job) -> None:
        """Let a job begin, or grow to what it knows."""
        growth_bytes = job.growth_bytes
        job.reserved_bytes += growth_bytes
        self.used_bytes += growth_bytes
        self._begun[job.id] = job
        assert self.used_bytes <= self.budget_bytes

    def free(self, job: Job) -> None:
        """A job has ended or is preempted; one that has not begun has nothing to free."""
        if self._begun.pop(job.id, None) is not None:
            self.used_bytes -= job.reserved_bytes
            job.reserved_bytes = 0

    def growth(self, jobs: Sequence[Job]) -> Growth:
        """Who of these, oldest first, finds room for a step, and who has to go for that, perhaps some of them."""
        growth_bytes = [job.growth_bytes for job in jobs]
        free_bytes = self.budget_bytes - self.used_bytes
        if sum(growth_bytes) <= free_bytes:
            return Growth(list(jobs), [])
        able: list[Job] = []
        preempted: list[Job] = []
        for job, wanted_bytes in zip(jobs, growth_bytes, strict=True):
            if job in preempted:
                continue
            lacking_bytes = wanted_bytes - free_bytes
            found = self.youngest(job, lacking_bytes, lambda other: other.reserved_bytes, preempted)
            if found is not None:
                able.append(job)
                preempted += found
                free_bytes = sum(other.reserved_bytes for other in found) - lacking_bytes
        return Growth(able, preempted)

    def youngest(
        self, than: Job, lacking_bytes: int, bytes_of: Callable[[Job], int], gone: Collection[Job] = ()
    ) -> list[Job] | None:
        """The youngest jobs, all younger `than` this one, that have so much together; None if they have not."""
        paused = [job for job in self._begun.values() if job.number > than.number and not self._is_in_step(job)]
        found: list[Job] = []
        for job in sorted(paused, key=lambda job: -job.number):
            if lacking_bytes <= 0:
                break
            if job not in gone:
                found.append(job)
                lacking_bytes -= bytes_of(job)
        return found if lacking_bytes <= 0 else None

    def check_integrity(self, jobs: Iterable[Job]) -> None:
        """Raise AssertionError if these, all that there are, have not reserved just what is used."""
        begun = {job.id: job.reserved_bytes for job in jobs if job.is_started}
        assert begun.keys() == self._begun.keys()
        assert self.used_bytes == sum(begun.values()), f"{self.used_bytes} bytes used, reserved are {begun}"
        assert 0 <= self.used_bytes <= self.budget_bytes
        for job in self._begun.values():
            assert job.reserved_bytes <= job.ahead_bytes, f"{job.id} has reserved more than it can come to"
