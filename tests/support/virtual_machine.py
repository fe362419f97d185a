"""A fake device under a virtual clock: it carries out what a scheduler decides, and counts tokens and KV of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from coe.scheduling.effects import Acquire, Fail, Preempt, Release, Run, Schedule
from coe.scheduling.fcfs import FcfsPolicy
from coe.scheduling.job import Job
from coe.scheduling.limits import Limits
from coe.scheduling.scheduler import Scheduler
from coe.scheduling.value import ValuePolicy

__all__ = ["BLOCK", "POLICIES", "UNITS", "Machine", "blocks"]

POLICIES = {"value": ValuePolicy, "fcfs": FcfsPolicy}

UNITS = 4  # per expert
BLOCK = 64  # tokens


def blocks(num_tokens: int) -> int:
    return -(-num_tokens // BLOCK)


class Machine:
    """A device with room for `room` experts of one size, whose loads take virtual time; also the WeightsView."""

    def __init__(self, room: int, resident: Iterable[str] = (), *, policy: str = "value", **limits: float) -> None:
        self.room = room
        self.ready = dict.fromkeys(resident, UNITS)
        self.leased: set[str] = set()
        self.pins: tuple[str, ...] = ()
        self.scheduler = Scheduler(self, Limits(**{"kv_bytes": 1000, **limits}), POLICIES[policy]())  # type: ignore[arg-type]
        self.now_s = 0.0
        self.running: dict[str, dict[str, int]] = {}
        self.left: dict[str, int] = {}  # tokens that a job has yet to sample
        self.kv: dict[str, int] = {}  # tokens whose KV a job has
        self.log: list[tuple[float, object]] = []
        self.failed: dict[str, Exception] = {}
        self.preempted: list[str] = []
        self.first_step_s: dict[str, float] = {}

    # the scheduler's view
    def is_resident(self, expert: str) -> bool:
        return self.ready.get(expert, 0) == UNITS

    def can_lease(self, expert: str, giving_up: Collection[str] = ()) -> bool:
        return len((self.leased - set(giving_up)) | {expert}) <= self.room

    def pins_against(self, expert: str) -> tuple[str, ...]:
        return self.pins if self.room <= len(set(self.pins) - {expert}) else ()

    def num_ready(self, expert: str) -> int:
        return self.ready.get(expert, 0)

    def load_s(self, expert: str) -> float:
        return 0.0 if self.is_resident(expert) else 1.0

    # the world
    def arrive(self, job_id: str, expert: str, num_tokens: int = 3, prompt: int = 5, kv: int = 10) -> None:
        """Submit a job whose KV takes `kv` bytes from its first token on."""
        self.submit(Job(job_id, expert, prompt, prompt + num_tokens - 1, lambda _: kv, self.now_s), num_tokens)

    def grow(
        self, job_id: str, expert: str, prompt: int, num_tokens: int, *, most: int = 0, prompt_donor: str = ""
    ) -> Job:
        """Submit a job of a KV byte for every BLOCK tokens begun that may sample `most` and samples `num_tokens`."""
        num_tokens_max = prompt + max(most, num_tokens) - 1
        job = Job(job_id, expert, prompt, num_tokens_max, blocks, self.now_s, prompt_donor=prompt_donor or None)
        self.submit(job, num_tokens)
        return job

    def submit(self, job: Job, num_tokens: int) -> None:
        self.scheduler.admit([job], self.now_s)
        self.left[job.id], self.kv[job.id] = num_tokens, 0

    def turn(self, step_s: float = 0.1) -> Schedule:
        """Decide and carry it out; a step takes `step_s`, and in every turn one unit of a leased expert arrives."""
        schedule = self.scheduler.decide(self.now_s)
        self._check_preemptions(schedule)
        for effect in schedule.effects:
            self.log.append((self.now_s, effect))
            if isinstance(effect, Acquire):
                self._evict_for(effect.expert)
                self.leased.add(effect.expert)
            elif isinstance(effect, Release):
                self.leased.remove(effect.expert)
            elif isinstance(effect, Fail):
                self.failed[effect.job_id] = effect.error
            elif isinstance(effect, Preempt):
                self.kv[effect.job_id] = 0
                self.preempted.append(effect.job_id)
            elif isinstance(effect, Run):
                self.running[effect.expert] = dict(effect.num_tokens)
        if schedule.step is not None:
            self._step(schedule.step.expert, step_s)
        self.now_s += step_s
        for expert in self.leased:
            if not self.is_resident(expert):
                self.ready[expert] = self.ready.get(expert, 0) + 1
                break
        self.scheduler.check_integrity()
        return schedule

    def _check_preemptions(self, schedule: Schedule) -> None:
        """Every preemption is for an older job that runs in this very step."""
        preempted = [effect.job_id for effect in schedule.effects if isinstance(effect, Preempt)]
        if preempted:
            assert isinstance(schedule.step, Run), f"{preempted} preempted, and no step begins"
            jobs = self.scheduler.queues.jobs
            oldest = min(jobs[job_id].number for job_id in schedule.step.num_tokens)
            assert all(jobs[job_id].number > oldest for job_id in preempted), f"{preempted} preempted for younger jobs"

    def _step(self, expert: str, step_s: float) -> None:
        if not self.is_resident(expert):
            self.scheduler.stopped(expert, self.ready[expert], self.now_s + step_s)
            return
        tokens = self.running.pop(expert)
        jobs = self.scheduler.queues.jobs
        for name, count in tokens.items():
            self.kv[name] += count
            assert jobs[name].kv_bytes(self.kv[name]) <= jobs[name].reserved_bytes, f"{name} has more than it reserved"
            assert self.kv[name] <= jobs[name].num_known, f"{name} was asked for tokens that it does not have"
        sampled = [
            name for name, count in tokens.items() if jobs[name].num_prefilled + count >= jobs[name].num_prefill_tokens
        ]
        for name in tokens:
            self.first_step_s.setdefault(name, self.now_s)
        for name in sampled:
            self.left[name] -= 1
        self.scheduler.stepped(expert, [name for name in sampled if self.left[name] <= 0], self.now_s + step_s)

    def _evict_for(self, expert: str) -> None:
        kept = self.leased | {expert}
        others = [name for name in self.ready if name not in kept]
        while len(kept | set(others)) > self.room and others:
            self.ready.pop(others.pop(0))

    def run(self, max_turns: int = 2000) -> None:
        while self.scheduler.queues.jobs:
            self.turn()
            max_turns -= 1
            assert max_turns, f"{len(self.scheduler.queues.jobs)} jobs never ended"

    def steps(self) -> list[str]:
        return [effect.expert for _, effect in self.log if isinstance(effect, Run)]
