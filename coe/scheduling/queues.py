"""The jobs that have arrived and not left, by id and by expert.

JobQueues takes jobs in, removes them, and answers which wait, which are in a step and which
are beyond their deadline. ExpertQueue also holds what the scheduler keeps of an expert: its lease and its step.
Knows nothing about bytes, weights or which expert should run.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from coe.scheduling.job import Job
from coe.scheduling.limits import Limits

__all__ = ["HINT_S", "ExpertQueue", "JobQueues"]

HINT_S = 5.0  # a routed prompt that has not arrived as a job by then is forgotten


@dataclass(slots=True, eq=False)
class ExpertQueue:
    """The jobs of one expert, its lease and its step."""

    expert: str
    last_step_s: float  # when its last step ended or stopped; before the first one, when its first job arrived
    jobs: dict[str, Job] = field(default_factory=dict)  # in order of arrival
    is_leased: bool = False
    num_steps: int = 0  # ended since it was leased
    step_tokens: Mapping[str, int] | None = None  # of the step under way: how many tokens each job brings
    stopped_at: int = 0  # the unit that the step under way waits for

    @property
    def started(self) -> list[Job]:
        return [job for job in self.jobs.values() if job.is_started]

    @property
    def num_waiting(self) -> int:
        """Jobs that have not begun. Any thread may ask: the list is copied in one atomic operation."""
        return sum(not job.is_started for job in list(self.jobs.values()))

    @property
    def is_in_step(self) -> bool:
        return self.step_tokens is not None

    def num_free_slots(self, batch_size: int) -> int:
        """How many more jobs the expert's batch takes."""
        return max(0, batch_size - len(self.started))

    def lease(self) -> None:
        self.is_leased, self.num_steps = True, 0

    def stop(self, at_unit: int, now_s: float) -> None:
        """The step under way waits for a unit."""
        self.stopped_at, self.last_step_s = at_unit, now_s

    def end_step(self, now_s: float) -> None:
        """The step under way has run: count its tokens."""
        assert self.step_tokens is not None
        for job_id, num_tokens in self.step_tokens.items():
            self.jobs[job_id].advance(num_tokens)
        self.last_step_s = now_s
        self.num_steps += 1
        self.clear_step()

    def clear_step(self) -> None:
        self.step_tokens, self.stopped_at = None, 0


class JobQueues:
    """Every job, by id and by expert, both in order of arrival."""

    def __init__(self, limits: Limits) -> None:
        self.jobs: dict[str, Job] = {}
        self.by_expert: dict[str, ExpertQueue] = {}  # kept when the last job has left
        self._limits = limits
        self._num_arrived = 0
        self._hints: dict[str, float] = {}  # experts that prompts were routed to, with the time of the last one

    # -- arrivals and departures

    def hint(self, expert: str, now_s: float) -> None:
        """A prompt was routed to this expert and will arrive as a job when its text is encoded."""
        self._hints[expert] = now_s

    def add(self, job: Job) -> None:
        """Take a job in and number it."""
        queue = self.by_expert.setdefault(job.expert, ExpertQueue(job.expert, job.arrived_s))
        queue.jobs[job.id] = self.jobs[job.id] = job
        self._num_arrived += 1
        job.number = self._num_arrived
        self._hints.pop(job.expert, None)

    def remove(self, job: Job) -> None:
        del self.jobs[job.id]
        del self.by_expert[job.expert].jobs[job.id]

    # -- questions

    def lengths(self) -> dict[str, int]:
        """Jobs that have not begun, by expert. Any thread may ask: each table is copied in one atomic operation."""
        return {expert: queue.num_waiting for expert, queue in list(self.by_expert.items()) if queue.jobs}

    def num_requests(self, expert: str) -> int:
        """Jobs of an expert, begun or not. Any thread may ask."""
        queue = self.by_expert.get(expert)
        return len(queue.jobs) if queue else 0

    def position(self, job_id: str) -> int:
        """How many jobs of its expert, itself included, wait up to this one; 0 once it has begun or left.

        Any thread may ask: the list is copied in one atomic operation.
        """
        job = self.jobs.get(job_id)
        if job is None or job.is_started:
            return 0
        return sum(not each.is_started and each.number <= job.number for each in list(self.jobs_of(job.expert)))

    def jobs_of(self, expert: str) -> Collection[Job]:
        queue = self.by_expert.get(expert)
        return queue.jobs.values() if queue else ()

    def waited_s(self, now_s: float, expert: str | None = None) -> float:
        """Seconds that the oldest job which has not begun has waited, of one expert or of all."""
        arrived = (job.arrived_s for job in self.jobs.values() if not job.is_started and expert in (None, job.expert))
        return now_s - min(arrived, default=now_s)

    def hinted(self, now_s: float) -> list[str]:
        """Experts without a job that a prompt was routed to less than HINT_S ago."""
        self._hints = {expert: at_s for expert, at_s in self._hints.items() if now_s - at_s < HINT_S}
        return [expert for expert in self._hints if not self.num_requests(expert)]

    def is_in_step(self, job: Job) -> bool:
        step_tokens = self.by_expert[job.expert].step_tokens
        return step_tokens is not None and job.id in step_tokens

    def is_eligible(self, job: Job) -> bool:
        """Whether it waits for nothing but its turn: it has not begun, and its prompt donor, if any, is prefilled."""
        donor = self.jobs.get(job.prompt_donor or "")
        return not job.is_started and (donor is None or donor.is_decoding)

    def overdue_job(self, queue: ExpertQueue, now_s: float) -> Job | None:
        """The expert's oldest eligible job, if it arrived `max_wait_s` ago or earlier."""
        job = next((job for job in queue.jobs.values() if self.is_eligible(job)), None)
        return job if job is not None and now_s - job.arrived_s >= self._limits.max_wait_s else None

    def expired(self, now_s: float) -> list[Job]:
        """Jobs whose deadline has passed."""
        return [job for job in self.jobs.values() if job.has_deadline and now_s >= self.deadline_of(job)]

    def next_deadline_s(self) -> float | None:
        return min((self.deadline_of(job) for job in self.jobs.values() if job.has_deadline), default=None)

    def deadline_of(self, job: Job) -> float:
        """When the job's first token is due."""
        return job.arrived_s + self.patience_of(job)

    def patience_of(self, job: Job) -> float:
        """Seconds from arrival that the job has to its first token."""
        return self._limits.deadline_s if job.deadline_s is None else job.deadline_s

    def check_integrity(self) -> None:
        """Raise AssertionError if both tables disagree, or a step has jobs or no lease that it should not have."""
        assert self.jobs.keys() == {job_id for queue in self.by_expert.values() for job_id in queue.jobs}
        for queue in self.by_expert.values():
            assert queue.step_tokens is None or (queue.is_leased and set(queue.step_tokens) <= queue.jobs.keys())
