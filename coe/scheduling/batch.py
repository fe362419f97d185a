"""Which jobs of an expert run in its next step, and how many tokens each of them brings.

Decoding jobs come first, with one token each; then the prompts of started jobs and jobs that begin, in order of
arrival, in chunks that fill the step, or whole where an expert needs that. Batch slots, the tokens of a step and KV
limit the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from coe.scheduling.job import Job
from coe.scheduling.kv_budget import Growth, KvBudget, KvHeadroom
from coe.scheduling.queues import ExpertQueue, JobQueues

__all__ = ["Batch", "BatchComposer"]


class Batch(NamedTuple):
    """A step that an expert could begin: how many tokens each job brings, and the jobs that are preempted for it."""

    num_tokens: dict[str, int]
    preempted: list[Job]


@dataclass(frozen=True, slots=True)
class BatchComposer:
    """Composes batches at one moment; changes nothing. At most `batch_size` jobs of an expert are started at once."""

    queues: JobQueues
    kv: KvBudget
    headroom: KvHeadroom
    batch_size: int
    max_step_tokens: int

    def compose(self, queue: ExpertQueue) -> Batch:
        """The expert's next batch; no jobs if none can run."""
        started = queue.started
        able, preempted = self.kv.growth([job for job in started if job.is_decoding])
        may_begin = not preempted and len(able) < self.max_step_tokens
        beginning, preempted_to_begin = self._beginning(queue) if may_begin else Growth([], [])
        preempted = [*preempted, *preempted_to_begin]
        num_tokens = {job.id: 1 for job in able if job not in preempted}
        prompts = [job for job in started if not job.is_decoding and job not in preempted]
        room = self.max_step_tokens - len(num_tokens)
        # a job that others are preempted for must begin in this very step, so it goes before the other prompts
        for job in (*beginning, *prompts) if preempted_to_begin else (*prompts, *beginning):
            if room <= 0:
                break
            left = self._num_to_prefill(job)
            if job.is_whole and left > room and num_tokens:
                break  # it has a step of its own, which may be longer than others
            num_tokens[job.id] = left if job.is_whole else min(room, left)
            room -= num_tokens[job.id]
        return Batch(num_tokens, preempted)

    def _beginning(self, queue: ExpertQueue) -> Growth:
        """Eligible jobs that can begin, in order of arrival; others may be preempted for an overdue one alone."""
        waiting = (job for job in queue.jobs.values() if self.queues.is_eligible(job))
        eligible = list(islice(waiting, queue.num_free_slots(self.batch_size)))
        beginning: list[Job] = []
        taken_bytes = 0
        for job in eligible:
            taken_bytes += job.ahead_bytes
            if taken_bytes > max(0, self.headroom.bytes_for(job)):
                break
            beginning.append(job)
        first = eligible[0] if eligible else None
        if beginning or first is None or self.headroom.overdue.get(queue.expert) is not first:
            return Growth(beginning, [])
        preempted = self.headroom.preemptions_for(first)
        return Growth([], []) if preempted is None else Growth([first], preempted)

    def _num_to_prefill(self, job: Job) -> int:
        """Tokens that the job has left to prefill; where a prompt donor has its KV, all but the last are copied."""
        if not job.is_started and job.prompt_donor in self.queues.jobs:
            return 1
        return job.num_prefill_tokens - job.num_prefilled
