"""KvBudget reserves bytes of KV for each job that has begun, and finds the youngest jobs to preempt when it runs short.

A job reserves its whole prompt when it begins and then, step by step, the blocks that its answer reaches; the rest of
what `max_tokens` allows is not reserved. Older jobs have precedence: a job that lacks bytes takes them from jobs that
are younger, have begun and are in no step, of any expert, the youngest first. A preempted job waits and has its KV
recomputed later. A job that even all of these could not serve is left out of the step and keeps what it has.

Why every job ends: a job is preempted only for an older one that grows or begins in the very same step, so each
preemption comes with progress of an older job, no two jobs are preempted for each other, and the oldest job is never
preempted. A job that would not fit into an empty budget is refused on arrival, so the oldest job gets its bytes at the
latest when the steps under way have ended; it runs on, ends, and the next one is the oldest. A job begins only if it
and all that have begun could grow by AHEAD_TOKENS, so beginning does not preempt others soon after; a job alone may
always begin.

Pure, and about bytes only: knows nothing about weights, time or the KV itself. KV that ended answers leave behind
(coe/engine/prefix_reuse.py) takes only bytes that are not reserved here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from coe.scheduling.job import Job

__all__ = ["Growth", "KvBudget", "KvHeadroom"]


class Growth(NamedTuple):
    """Jobs that can grow by their next token, and jobs that are preempted for that."""

    able: list[Job]
    preempted: list[Job]


class KvBudget:
    """The jobs that have begun and the bytes they have reserved. `is_in_step` says whose KV a step is using."""

    def __init__(self, budget_bytes: int, is_in_step: Callable[[Job], bool]) -> None:
        self.budget_bytes = budget_bytes
        self.used_bytes = 0
        self._begun: dict[str, Job] = {}
        self._is_in_step = is_in_step

    def reserve(self, job: Job) -> None:
        """Let a job begin, or grow to the tokens that it knows."""
        growth_bytes = job.growth_bytes
        job.reserved_bytes += growth_bytes
        self.used_bytes += growth_bytes
        self._begun[job.id] = job
        job.has_begun = True
        assert self.used_bytes <= self.budget_bytes

    def free(self, job: Job) -> None:
        """Take back what a job has reserved: it has ended or is preempted. A job that has not begun has nothing."""
        if self._begun.pop(job.id, None) is not None:
            self.used_bytes -= job.reserved_bytes
            job.reserved_bytes = 0
            job.has_begun = False

    def headroom(self, overdue: Mapping[str, Job]) -> KvHeadroom:
        """What jobs that have not begun may reserve now; `overdue` has overdue jobs by expert, oldest first."""
        ahead_bytes = sum(job.ahead_bytes for job in self._begun.values())
        return KvHeadroom(self, self.budget_bytes - ahead_bytes, overdue)

    def growth(self, jobs: Sequence[Job]) -> Growth:
        """Which of these jobs, given oldest first, can grow, and which are preempted, perhaps some of the same."""
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
        self, than: Job, lacking_bytes: int, bytes_of: Callable[[Job], int], taken: Collection[Job] = ()
    ) -> list[Job] | None:
        """The youngest jobs that make up `lacking_bytes`, or None if all that may be preempted do not.

        They are younger `than` this job, in no step and not `taken` already; each counts for `bytes_of` it.
        """
        if lacking_bytes <= 0:
            return []
        paused = [job for job in self._begun.values() if job.number > than.number and not self._is_in_step(job)]
        found: list[Job] = []
        for job in sorted(paused, key=lambda job: -job.number):
            if lacking_bytes <= 0:
                break
            if job not in taken:
                found.append(job)
                lacking_bytes -= bytes_of(job)
        return found if lacking_bytes <= 0 else None

    def check_integrity(self, jobs: Iterable[Job]) -> None:
        """Raise AssertionError if the reserved bytes of `jobs`, all that there are, do not add up to the bytes used."""
        begun = {job.id: job.reserved_bytes for job in jobs if job.is_started}
        assert begun.keys() == self._begun.keys()
        assert self.used_bytes == sum(begun.values()), f"{self.used_bytes} bytes used, reserved are {begun}"
        assert 0 <= self.used_bytes <= self.budget_bytes
        for job in self._begun.values():
            assert job.reserved_bytes <= job.ahead_bytes, f"{job.id} has reserved more than it can come to"


@dataclass(frozen=True, slots=True)
class KvHeadroom:
    """Bytes of KV that jobs which have not begun may reserve at one moment.

    `spare_bytes` are left when every job that has begun has grown by AHEAD_TOKENS. `overdue` has the overdue job of
    each expert whose batch has a free slot, oldest first; the oldest has first claim to the spare bytes.
    """

    budget: KvBudget
    spare_bytes: int
    overdue: Mapping[str, Job]

    def bytes_for(self, job: Job) -> int:
        """Bytes that the job may count on: all that are spare, less those of an older overdue job of another expert."""
        older = next((other for other in self.overdue.values() if other.expert != job.expert), None)
        return self.spare_bytes - (older.ahead_bytes if older is not None and older.number < job.number else 0)

    def preemptions_for(self, job: Job) -> list[Job] | None:
        """Jobs to preempt so that an overdue job can begin: younger ones in no step. None if they do not suffice."""
        return self.budget.youngest(job, job.ahead_bytes - self.bytes_for(job), lambda other: other.ahead_bytes)
