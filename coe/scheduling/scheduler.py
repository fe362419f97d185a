"""Which expert runs next, who is in its batch, and which expert's weights start moving.

Pure: no clock, no torch, no await; time comes in as `now_s`, decisions go out as effects. Two policies share
the core. "value" serves the expert whose waiting work is worth most per second, switch included, and starts loads while
warm experts run; "fcfs" is the SN40L paper's baseline: one request at a time, whole experts, nothing overlapped.

Nobody waits for ever. Every job that has waited `max_wait_s` is overdue, overdue work goes before all other in order
of arrival, and it may take memory from any expert whose slice is over. With E overdue experts ahead a job's first
step begins at most `max_wait_s + (E + 1) * (load + slice)` after it arrived, if there is a free slot in its expert's
batch and KV memory for it: when its turn comes it takes that from younger ones that are in no step, and those that
begin before leave the oldest overdue job its room. Nobody's turn is cut short for work that waits for a batch slot or
memory.
A job that shares another's prompt (one more choice of a request) waits for that one's prompt first. Who has how much
KV, and why all end, is in kv_budget.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from coe.errors import CancelledError, DeadlineError, OverloadedError
from coe.scheduling.effects import (
    CANCELLED,
    Abandon,
    Acquire,
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
from coe.scheduling.kv_budget import Growth, KvBudget
from coe.scheduling.limits import Limits

__all__ = ["Scheduler", "WeightsView"]

MAX_EXPECTED = 8  # experts named ahead: more would be guesses about a queue that will look different by then
HINT_S = 5.0  # how long a routed prompt may take to become a request before it is forgotten


class WeightsView(Protocol):
    """What the scheduler may know of the weights. `num_ready` counts an active expert's leading units on the device."""

    def is_resident(self, expert: str) -> bool: ...
    def can_lease(self, expert: str, giving_up: Collection[str] = ()) -> bool: ...
    def num_ready(self, expert: str) -> int: ...
    def load_s(self, expert: str) -> float: ...


@dataclass(slots=True)
class ExpertQueue:
    """One expert's work."""

    jobs: dict[str, Job] = field(default_factory=dict)  # in order of arrival
    last_step_s: float = 0.0
    num_steps: int = 0  # since it was leased
    is_active: bool = False  # holds a lease
    step_jobs: Mapping[str, int] | None = None  # of the step under way
    stopped_at: int = 0  # the unit that the step under way waits for

    @property
    def started(self) -> list[Job]:
        return [job for job in self.jobs.values() if job.is_started]

    @property
    def num_waiting(self) -> int:
        return sum(not job.is_started for job in list(self.jobs.values()))


class _Batch(NamedTuple):
    """A step that could be run: how many tokens each job brings, and whose KV has to go for it."""

    num_tokens: dict[str, int]
    preempted: list[Job]


class KvHeadroom(NamedTuple):
    """KV for jobs that have not begun. `overdue`: oldest first, one of each expert with a free slot."""

    spare_bytes: int
    overdue: list[Job]

    def for_job(self, job: Job) -> int:
        """What it may count on: the oldest overdue job of other experts finds its room, too, if it came before."""
        older = next((other for other in self.overdue if other.expert != job.expert), None)
        return self.spare_bytes - (older.ahead_bytes if older is not None and older.number < job.number else 0)


class Scheduler:
    """Events in by method, effects out by `decide`. One owner, no locks."""

    def __init__(self, weights: WeightsView, limits: Limits) -> None:
        self._weights = weights
        self._limits = limits
        self._by_expert: dict[str, ExpertQueue] = {}
        self._jobs: dict[str, Job] = {}
        self._kv = KvBudget(limits.kv_bytes, self._is_in_step)
        self._num_arrived = 0
        self._headroom = KvHeadroom(limits.kv_bytes, [])  # of the decision under way
        self._hints: dict[str, float] = {}  # experts that a prompt was routed to, and when
        self._expected: tuple[str, ...] = ()

    # -- events

    def hint(self, expert: str, now_s: float) -> None:
        """A prompt was routed to this expert and will arrive when its text is encoded."""
        self._hints[expert] = now_s

    def arrive(self, job: Job) -> None:
        """Take a job in; raises OverloadedError when a queue is full or its KV could never fit."""
        self._check_limits(job)
        queue = self._by_expert.setdefault(job.expert, ExpertQueue(last_step_s=job.arrived_s))
        queue.jobs[job.id] = self._jobs[job.id] = job
        self._num_arrived += 1
        job.number = self._num_arrived
        self._hints.pop(job.expert, None)

    def cancel(self, job_id: str) -> bool:
        """The client went away: the job leaves now, or when the step it is in has ended. False if it is unknown."""
        job = self._jobs.get(job_id)
        if job is None:
            return False
        if self._is_in_step(job):
            job.is_cancelled = True
            return False
        self._remove(job)
        return True

    def reused(self, job_id: str, num_tokens: int) -> None:
        """The step that begins found so many of the job's leading tokens in a kept KV."""
        self._jobs[job_id].num_prefilled = num_tokens

    def stopped(self, expert: str, at_unit: int, now_s: float) -> None:
        """The step under way ran out of ready units; others come first until this expert's turn is due again."""
        queue = self._by_expert[expert]
        queue.stopped_at, queue.last_step_s = at_unit, now_s

    def stepped(self, expert: str, ended: Iterable[str], now_s: float) -> list[str]:
        """A step ended, and these jobs with it; returns the ids that left because they had been cancelled."""
        queue = self._by_expert[expert]
        assert queue.step_jobs is not None
        for job_id, num_tokens in queue.step_jobs.items():
            job = self._jobs[job_id]
            job.num_prefilled = min(job.num_prompt_tokens, job.num_prefilled + num_tokens)
            job.num_generated += job.is_decoding
        queue.last_step_s = now_s
        queue.num_steps += 1
        queue.step_jobs = None
        queue.stopped_at = 0
        for job_id in ended:
            self._remove(self._jobs[job_id])
        leaving = [job for job in queue.jobs.values() if job.is_leaving]
        for job in leaving:
            self._remove(job)
        return [job.id for job in leaving if job.is_cancelled]

    def fail_expert(self, expert: str) -> list[str]:
        """The expert cannot run: its step, lease and jobs are gone. Returns the jobs' ids."""
        queue = self._by_expert.get(expert)
        if queue is None:
            return []
        queue.step_jobs = None
        queue.is_active = False
        ids = list(queue.jobs)
        for job_id in ids:
            self._remove(self._jobs[job_id])
        return ids

    # -- questions

    @property
    def num_jobs(self) -> int:
        return len(self._jobs)

    @property
    def kv_used_bytes(self) -> int:
        """Bytes of KV that jobs which have begun have reserved."""
        return self._kv.used_bytes

    def kv_reserved_bytes(self, job_id: str) -> int:
        return self._jobs[job_id].reserved_bytes

    @property
    def num_unexpired_jobs(self) -> int:
        """Jobs that have not been failed by their deadline."""
        return sum(not job.is_expired for job in self._jobs.values())

    def queue_lengths(self) -> dict[str, int]:
        """Jobs per expert that have not begun. May be asked from any thread: the copies below are atomic."""
        return {expert: queue.num_waiting for expert, queue in list(self._by_expert.items()) if queue.jobs}

    def num_requests(self, expert: str) -> int:
        queue = self._by_expert.get(expert)
        return len(queue.jobs) if queue else 0

    # -- the decision

    def decide(self, now_s: float) -> Schedule:
        """What to do now. At most one step, as the last effect; the rest takes no time."""
        effects: list[Effect] = list(self._expire(now_s))
        effects += self._abandon()
        effects += self.release_idle()
        self._headroom = self._look(now_s)
        effects += self._acquire(now_s)
        effects += self._expect(now_s)
        expert = self._choose(now_s)
        if expert is not None:
            effects += self._step(expert)
        return Schedule(tuple(effects), self._next_deadline())

    def _expire(self, now_s: float) -> list[Fail]:
        expired = [job for job in self._jobs.values() if self._has_deadline(job) and now_s >= self._deadline(job)]
        for job in expired:
            if self._is_in_step(job):
                job.is_expired = True
            else:
                self._remove(job)
        return [
            Fail(
                job.id,
                DeadlineError(
                    f"no token from expert '{job.expert}' within {self._limits.deadline_s:g} s (waited "
                    f"{now_s - job.arrived_s:.1f} s); try again later or raise [scheduler] deadline_s"
                ),
            )
            for job in expired
        ]

    def _look(self, now_s: float) -> KvHeadroom:
        overdue = [
            job
            for queue in self._by_expert.values()
            if (job := self._overdue(queue, now_s)) is not None and self._num_free_slots(queue)
        ]
        return KvHeadroom(self._kv.spare_bytes, sorted(overdue, key=lambda job: job.number))

    def preempt(self, job: Job) -> Preempt:
        self._kv.free(job)
        job.was_preempted = True
        job.num_prompt_tokens += job.num_generated
        job.num_prefilled = job.num_generated = 0
        return Preempt(job.id)

    def _abandon(self) -> list[Effect]:
        """End steps that wait for weights on behalf of nobody."""
        effects: list[Effect] = []
        for expert, queue in self._by_expert.items():
            jobs = [self._jobs[job_id] for job_id in queue.step_jobs or ()]
            if jobs and all(job.is_leaving for job in jobs):
                queue.step_jobs, queue.stopped_at = None, 0
                effects.append(Abandon(expert))
                effects += [Fail(job.id, CancelledError(CANCELLED)) for job in jobs if job.is_cancelled]
                for job in jobs:
                    self._remove(job)
        return effects

    def release_idle(self) -> list[Release]:
        """Give up the leases of experts that have no work left; `decide` does so too."""
        idle = [expert for expert, queue in self._by_expert.items() if queue.is_active and not queue.jobs]
        return [self._deactivate(expert) for expert in idle]

    def _acquire(self, now_s: float) -> list[Effect]:
        """Lease one expert that has work, a cold one only if no other is loading.

        One per decision: what it takes is not in the books before the effects are carried out.
        """
        for expert in self._by_worth(now_s):
            if self._is_loading() and not self._weights.is_resident(expert):
                continue
            given_up = self._give_up_for(expert, now_s)
            if given_up is not None:
                releases = [self._deactivate(other) for other in given_up]
                self._activate(expert)
                return [*releases, Acquire(expert)]
        return []

    def _expect(self, now_s: float) -> list[Effect]:
        """Say who comes next when that has changed; the baseline never looks ahead."""
        if self._limits.policy == "fcfs":
            return []
        self._hints = {expert: at_s for expert, at_s in self._hints.items() if now_s - at_s < HINT_S}
        queued = [expert for expert in self._by_worth(now_s) if not self._by_expert[expert].is_active]
        hinted = [name for name in self._hints if name not in self._by_expert or not self._by_expert[name].jobs]
        expected = (*queued, *hinted)[:MAX_EXPECTED]
        if expected == self._expected:
            return []
        self._expected = expected
        return [Expect(expected)]

    def _by_worth(self, now_s: float) -> list[str]:
        """Experts with work and no lease, the one to serve first in front."""
        idle = [name for name, queue in self._by_expert.items() if not queue.is_active and self._can_begin_step(queue)]
        if self._limits.policy == "fcfs":
            first = self._first_job()
            idle = [expert for expert in idle if first is not None and expert == first.expert]
        return sorted(idle, key=lambda expert: self._rank(expert, now_s))

    def _rank(self, expert: str, now_s: float) -> tuple[float, float]:
        """Overdue work first, in order of arrival; then the most work x age per second that it costs to begin."""
        queue = self._by_expert[expert]
        if (job := self._servable_overdue(expert)) is not None:
            return (job.arrived_s - now_s - 1e9, 0.0)
        cost_s = 0.05 + (0.0 if self._weights.is_resident(expert) else self._weights.load_s(expert))
        age_s = now_s - min(queue.last_step_s, min(job.arrived_s for job in queue.jobs.values()))
        return (0.0, -len(queue.jobs) * (age_s + 1e-3) / cost_s)

    def _give_up_for(self, expert: str, now_s: float) -> list[str] | None:
        """Which leases to close so that this expert fits: none if it does, None if it may not be had yet."""
        if self._weights.can_lease(expert):
            return []
        given_up: list[str] = []
        for other in sorted(self._releasable(expert), key=lambda name: -self._rank(name, now_s)[1]):
            given_up.append(other)
            if self._weights.can_lease(expert, given_up):
                return given_up
        return None

    def _releasable(self, expert: str) -> list[str]:
        """Active experts between steps that had their slice (one step if this one has overdue work) or cannot step."""
        has_overdue = self._servable_overdue(expert) is not None
        enough = 1 if has_overdue else self._limits.slice_steps
        return [
            name
            for name, queue in self._by_expert.items()
            if queue.is_active
            and queue.step_jobs is None
            and (queue.num_steps >= enough or not self._can_begin_step(queue))
        ]

    def _choose(self, now_s: float) -> str | None:
        """The expert of the next step, among those that can compute now.

        Experts in memory take turns step by step: changing between them costs nothing.
        """
        able = [expert for expert, queue in self._by_expert.items() if self._can_step(expert, queue)]
        if not able:
            return None
        overdue = [expert for expert in able if self._servable_overdue(expert) is not None]
        if overdue:
            return min(overdue, key=lambda expert: self._rank(expert, now_s))
        return max(able, key=lambda expert: self._standing(expert, now_s))

    def _standing(self, expert: str, now_s: float) -> float:
        """Work x time since it was last served: grows without bound, so every expert's turn comes."""
        queue = self._by_expert[expert]
        return len(queue.jobs) * (now_s - queue.last_step_s + 1e-6)

    def _can_step(self, expert: str, queue: ExpertQueue) -> bool:
        if not queue.is_active:
            return False
        if queue.step_jobs is not None:
            return self._weights.num_ready(expert) > queue.stopped_at
        if self._limits.policy == "fcfs" and not self._is_first(expert):
            return False
        return self._weights.num_ready(expert) > 0 and self._can_begin_step(queue)

    def _step(self, expert: str) -> list[Effect]:
        queue = self._by_expert[expert]
        if queue.step_jobs is not None:
            return [Resume(expert)]
        batch = self._batch(queue)
        preempts: list[Effect] = [self.preempt(job) for job in batch.preempted]
        queue.step_jobs = batch.num_tokens
        for job_id in batch.num_tokens:
            self._kv.reserve(self._jobs[job_id])
        return [*preempts, Run(expert, batch.num_tokens)]

    def _batch(self, queue: ExpertQueue) -> _Batch:
        """Decoding jobs first, then prompts in order of arrival; one that makes others go begins in this very step."""
        started = queue.started
        able, preempted = self._kv.growth([job for job in started if job.is_decoding])
        has_room = not preempted and len(able) < self._limits.max_step_tokens
        joining, making_way = self._joining(queue) if has_room else Growth([], [])
        gone = [*preempted, *making_way]
        members = dict.fromkeys((job.id for job in able if job not in gone), 1)
        room = self._limits.max_step_tokens - len(members)
        prompts = [job for job in started if not job.is_decoding and job not in gone]
        for job in (*joining, *prompts) if making_way else (*prompts, *joining):
            if room > 0:
                members[job.id] = min(room, self._num_to_prefill(job))
                room -= members[job.id]
        return _Batch(members, gone)

    def _joining(self, queue: ExpertQueue) -> Growth:
        """Waiting jobs that may begin, in order of arrival; an overdue one that finds no room may make others go."""
        waiting = [job for job in queue.jobs.values() if self._is_due(job)][: self._num_free_slots(queue)]
        joining: list[Job] = []
        taken_bytes = 0
        for job in waiting:
            taken_bytes += job.ahead_bytes
            if taken_bytes > self._headroom.for_job(job):
                break
            joining.append(job)
        if joining or not waiting or waiting[0] not in self._headroom.overdue:
            return Growth(joining, [])
        going = self._making_way(waiting[0])
        return Growth([], []) if going is None else Growth([waiting[0]], going)

    def _making_way(self, job: Job) -> list[Job] | None:
        """Who has to go for an overdue job to begin: younger ones that are in no step; None if that is not enough."""
        lacking_bytes = job.ahead_bytes - self._headroom.for_job(job)
        return self._kv.youngest(job, lacking_bytes, lambda other: other.ahead_bytes)

    def _is_due(self, job: Job) -> bool:
        """Whether it waits for nothing but its turn: one that shares another's prompt waits for that one's KV first."""
        donor = self._jobs.get(job.prompt_donor or "")
        return not job.is_started and (donor is None or donor.is_decoding)

    def _num_to_prefill(self, job: Job) -> int:
        """How many tokens of its prompt are left; all but the last are copied where the job that leads it has them."""
        if not job.is_started and job.prompt_donor in self._jobs:
            return 1
        return job.num_prompt_tokens - job.num_prefilled

    def _num_free_slots(self, queue: ExpertQueue) -> int:
        """How many more jobs the expert's batch takes."""
        size = 1 if self._limits.policy == "fcfs" else self._limits.max_batch_size
        return max(0, size - len(queue.started))

    # -- small questions

    def _overdue(self, queue: ExpertQueue, now_s: float) -> Job | None:
        """The expert's oldest job whose turn it could be, if it has waited for too long."""
        job = next((job for job in queue.jobs.values() if self._is_due(job)), None)
        return job if job is not None and now_s - job.arrived_s >= self._limits.max_wait_s else None

    def _servable_overdue(self, expert: str) -> Job | None:
        """The expert's overdue job, if a turn is of use to it: not where it waits for memory or a batch slot."""
        if self._by_expert[expert].step_jobs is not None:
            return None
        job = next((job for job in self._headroom.overdue if job.expert == expert), None)
        return job if job is not None and self._making_way(job) is not None else None

    def _can_begin_step(self, queue: ExpertQueue) -> bool:
        return bool(self._batch(queue).num_tokens)

    def _is_loading(self) -> bool:
        return any(queue.is_active and not self._weights.is_resident(name) for name, queue in self._by_expert.items())

    def _is_first(self, expert: str) -> bool:
        """The baseline runs nothing but the oldest job, and that only once its expert is whole."""
        first = self._first_job()
        return first is not None and first.expert == expert and self._weights.is_resident(expert)

    def _first_job(self) -> Job | None:
        started = next((job for job in self._jobs.values() if job.is_started), None)
        return started or next(iter(self._jobs.values()), None)

    def _is_in_step(self, job: Job) -> bool:
        step_jobs = self._by_expert[job.expert].step_jobs
        return step_jobs is not None and job.id in step_jobs

    def _has_deadline(self, job: Job) -> bool:
        """Whether the deadline still counts: somebody is there, has no token yet, and was not made to wait again."""
        return not job.is_decoding and not job.is_leaving and not job.was_preempted

    def _deadline(self, job: Job) -> float:
        return job.arrived_s + self._limits.deadline_s

    def _next_deadline(self) -> float | None:
        return min((self._deadline(job) for job in self._jobs.values() if self._has_deadline(job)), default=None)

    def _activate(self, expert: str) -> None:
        queue = self._by_expert[expert]
        queue.is_active, queue.num_steps = True, 0

    def _deactivate(self, expert: str) -> Release:
        self._by_expert[expert].is_active = False
        return Release(expert)

    def _remove(self, job: Job) -> None:
        del self._jobs[job.id]
        del self._by_expert[job.expert].jobs[job.id]
        self._kv.free(job)

    def _check_limits(self, job: Job) -> None:
        waiting = self.queue_lengths()
        limits = self._limits
        if (needed_bytes := job.kv_bytes(job.num_tokens_max)) > limits.kv_bytes:
            raise OverloadedError(
                f"the request may come to {needed_bytes:,} bytes of KV cache and the budget is {limits.kv_bytes:,}; "
                "shorten the prompt, lower max_tokens or raise [engine] kv_bytes"
            )
        if sum(waiting.values()) >= limits.max_queue:
            raise OverloadedError(f"{limits.max_queue} requests are waiting already ([scheduler] max_queue); try later")
        if waiting.get(job.expert, 0) >= limits.max_queue_per_expert:
            raise OverloadedError(
                f"{limits.max_queue_per_expert} requests wait for expert '{job.expert}' already "
                "([scheduler] max_queue_per_expert); try later"
            )

    def check_integrity(self) -> None:
        """Raise AssertionError if jobs, queues and reserved KV disagree."""
        self._kv.check_integrity(self._jobs.values())
        assert self._jobs.keys() == {job_id for queue in self._by_expert.values() for job_id in queue.jobs}
        for queue in self._by_expert.values():
            assert queue.step_jobs is None or (queue.is_active and set(queue.step_jobs) <= queue.jobs.keys())
