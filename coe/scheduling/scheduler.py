"""Scheduler: events in by method, a Schedule of effects out by `decide`.

It owns the jobs and the KV budget, leases one expert in a decision, and runs one step. A SchedulingPolicy ranks the
experts. Pure: no clock, no torch, no await; time comes in as `now_s`.

The bound on waiting, under the value policy. A job is overdue when it has not begun `max_wait_s` after it arrived and
its prompt donor, if it has one, is prefilled. Overdue jobs go before all other work, in order of arrival: an expert
that has run a step gives up its lease for them, and the oldest of them has first claim to KV, if need be to that of
younger jobs. So a job's first step begins at most

    max_wait_s + (E + 1) * (load_s + slice_s)

after it arrived, where E is the number of other experts with older overdue jobs, `load_s` the longest load of an expert
and `slice_s` the longest time that `slice_steps` steps take. Covered: waiting for a lease and for KV of younger jobs.
Not covered: waiting for a batch slot, for KV of older jobs or of a step under way, and for a prompt donor. A job that
waits for one of these does not shorten another expert's slice. kv_budget.py says why every job ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from coe.errors import CancelledError, DeadlineError, PinnedOutError
from coe.scheduling.admission import Admission, more_time
from coe.scheduling.effects import (
    CANCELLED,
    Abandon,
    Effect,
    Expect,
    Fail,
    Preempt,
    Release,
    Resume,
    Run,
    Schedule,
)
from coe.scheduling.job import Job
from coe.scheduling.kv_budget import KvBudget
from coe.scheduling.leasing import Leasing
from coe.scheduling.limits import Limits
from coe.scheduling.outlook import Outlook
from coe.scheduling.policy import SchedulingPolicy
from coe.scheduling.queues import JobQueues
from coe.scheduling.weights_view import WeightsView

__all__ = ["Scheduler"]


class Scheduler:
    """One owner, no locks: `queue_lengths` and `num_requests` may be asked from any thread, all else from one."""

    def __init__(self, weights: WeightsView, limits: Limits, policy: SchedulingPolicy) -> None:
        self.queues = JobQueues(limits)
        self._weights = weights
        self._limits = limits
        self._policy = policy
        self._kv = KvBudget(limits.kv_bytes, self.queues.is_in_step)
        self._admission = Admission(self.queues, weights, limits)
        self._leasing = Leasing(self.queues, weights, policy, limits.slice_steps)
        self._expected: tuple[str, ...] = ()  # as the last Expect said

    # -- events

    def hint(self, expert: str, now_s: float) -> None:
        """A prompt was routed to this expert and will arrive when its text is encoded."""
        self.queues.hint(expert, now_s)

    def admit(self, jobs: Sequence[Job], now_s: float) -> None:
        """Take in the jobs of one request, all or none; raises what `Admission.check` does."""
        self._admission.check(jobs, now_s)
        for job in jobs:
            self.queues.add(job)

    def cancel(self, job_id: str) -> bool:
        """The client went away: remove the job now, or when its step ends. True if it was removed now."""
        job = self.queues.jobs.get(job_id)
        if job is None or job.is_expired:  # ended already; its step may still hold it
            return False
        if self.queues.is_in_step(job):
            job.is_cancelled = True
            return False
        self._remove([job])
        return True

    def reused(self, job_id: str, num_tokens: int) -> None:
        """The step that begins has copied the KV of so many of the job's leading tokens."""
        self.queues.jobs[job_id].num_prefilled = num_tokens

    def stopped(self, expert: str, at_unit: int, now_s: float) -> None:
        """The expert's step waits for a unit; other experts step until its turn comes again."""
        self.queues.by_expert[expert].stop(at_unit, now_s)

    def stepped(self, expert: str, ended: Iterable[str], now_s: float) -> list[str]:
        """The expert's step has run and these jobs ended with it; removes and returns those cancelled meanwhile."""
        queue = self.queues.by_expert[expert]
        queue.end_step(now_s)
        self._remove([self.queues.jobs[job_id] for job_id in ended])
        leaving = [job for job in queue.jobs.values() if job.is_leaving]
        self._remove(leaving)
        return [job.id for job in leaving if job.is_cancelled]

    def fail_expert(self, expert: str) -> list[str]:
        """The expert cannot run: end its step and its lease, remove its jobs and return their ids."""
        queue = self.queues.by_expert.get(expert)
        if queue is None:
            return []
        queue.clear_step()
        queue.is_leased = False
        jobs = list(queue.jobs.values())
        self._remove(jobs)
        return [job.id for job in jobs]

    def pinned(self) -> list[Fail]:
        """An expert was pinned: remove the jobs of experts that pins leave no room for, and say why they end."""
        out: list[Fail] = []
        for expert, queue in self.queues.by_expert.items():
            if queue.jobs and not queue.is_leased and (pins := self._weights.pins_against(expert)):
                jobs = list(queue.jobs.values())  # in no step: it has no lease
                out += [Fail(job.id, PinnedOutError(expert, pins)) for job in jobs]
                self._remove(jobs)
        return out

    # -- questions

    @property
    def deadline_s(self) -> float:
        return self._limits.deadline_s

    @property
    def kv_used_bytes(self) -> int:
        """Bytes of KV that jobs have reserved."""
        return self._kv.used_bytes

    def kv_reserved_bytes(self, job_id: str) -> int:
        return self.queues.jobs[job_id].reserved_bytes

    @property
    def num_unexpired_jobs(self) -> int:
        """Jobs that their deadline has not ended."""
        return sum(not job.is_expired for job in self.queues.jobs.values())

    def queue_lengths(self) -> dict[str, int]:
        """Jobs that have not begun, by expert. Any thread may ask."""
        return self.queues.lengths()

    def num_requests(self, expert: str) -> int:
        """Jobs of an expert, begun or not. Any thread may ask."""
        return self.queues.num_requests(expert)

    def position(self, job_id: str) -> int:
        """Its place among the waiting jobs of its expert, from 1; 0 once it has begun or left. Any thread may ask."""
        return self.queues.position(job_id)

    # -- the decision

    def decide(self, now_s: float) -> Schedule:
        """Return what to do now.

        Jobs beyond their deadline fail; steps that only cancelled or expired jobs are in are abandoned; experts
        without jobs give up their leases; one expert is leased; the experts to be leased next are named; one leased
        expert steps.
        """
        effects: list[Effect] = [*self._expire(now_s), *self._abandon(), *self.release_idle()]
        batch_size = self._policy.batch_size(self._limits.max_batch_size)
        outlook = Outlook(self.queues, self._kv, self._weights, self._limits, batch_size, now_s)
        effects += self._leasing.lease_one(outlook)
        effects += self._expect(outlook)
        effects += self._step(outlook)
        return Schedule(tuple(effects), self.queues.next_deadline_s())

    def _expire(self, now_s: float) -> list[Fail]:
        expired = self.queues.expired(now_s)
        for job in expired:
            job.is_expired = True
        self._remove([job for job in expired if not self.queues.is_in_step(job)])
        return [Fail(job.id, self._deadline_error(job, now_s)) for job in expired]

    def _deadline_error(self, job: Job, now_s: float) -> DeadlineError:
        return DeadlineError(
            f"no token from expert '{job.expert}' within {self.queues.patience_of(job):g} s (waited "
            f"{now_s - job.arrived_s:.1f} s); {more_time(job)}"
        )

    def _abandon(self) -> list[Effect]:
        """End steps that wait for weights and whose jobs have all been cancelled or have expired."""
        effects: list[Effect] = []
        for expert, queue in self.queues.by_expert.items():
            jobs = [queue.jobs[job_id] for job_id in queue.step_tokens or ()]
            if jobs and all(job.is_leaving for job in jobs):
                queue.clear_step()
                effects.append(Abandon(expert))
                effects += [Fail(job.id, CancelledError(CANCELLED)) for job in jobs if job.is_cancelled]
                self._remove(jobs)
        return effects

    def release_idle(self) -> list[Release]:
        """Close the leases of experts that have no jobs left; `decide` does so first, and it may be called alone."""
        return self._leasing.release_idle()

    def _expect(self, outlook: Outlook) -> list[Effect]:
        """Name the experts to be leased next, if they are others than before."""
        expected = self._policy.to_expect(outlook, self.queues.hinted(outlook.now_s))
        if expected == self._expected:
            return []
        self._expected = expected
        return [Expect(expected)]

    def _step(self, outlook: Outlook) -> list[Effect]:
        """Begin or resume a step of the expert that the policy picks."""
        queue = self._policy.to_step(outlook)
        if queue is None:
            return []
        if queue.is_in_step:
            return [Resume(queue.expert)]
        batch = outlook.batch(queue)
        preemptions = [self.preempt(job) for job in batch.preempted]
        queue.step_tokens = batch.num_tokens
        for job_id in batch.num_tokens:
            self._kv.reserve(queue.jobs[job_id])
        return [*preemptions, Run(queue.expert, batch.num_tokens)]

    # -- changes

    def preempt(self, job: Job) -> Preempt:
        """Free the KV of a job that is in no step, and have it wait again."""
        self._kv.free(job)
        job.restart()
        return Preempt(job.id)

    def _remove(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self.queues.remove(job)
            self._kv.free(job)

    def check_integrity(self) -> None:
        """Raise AssertionError if jobs, queues and reserved KV disagree."""
        self._kv.check_integrity(self.queues.jobs.values())
        self.queues.check_integrity()
