"""Queues, weights and an Outlook over them, at one moment, for tests of what decides by them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from coe.scheduling.job import Job
from coe.scheduling.kv_budget import KvBudget
from coe.scheduling.limits import Limits
from coe.scheduling.outlook import Outlook
from coe.scheduling.queues import ExpertQueue, JobQueues

__all__ = ["FakeWeights", "Moment"]


class FakeWeights:
    """Experts of four units: `resident` ones have all, `ready` says how many the others have; `room` may be leased."""

    def __init__(
        self, resident: Iterable[str] = (), ready: Mapping[str, int] | None = None, load_s: float = 1.0, room: int = 99
    ) -> None:
        self.ready = {**dict.fromkeys(resident, 4), **(ready or {})}
        self.seconds = load_s
        self.room = room
        self.leased: set[str] = set()
        self.pins: tuple[str, ...] = ()

    def is_resident(self, expert: str) -> bool:
        return self.num_ready(expert) == 4

    def can_lease(self, expert: str, giving_up: Collection[str] = ()) -> bool:
        return len((self.leased - set(giving_up)) | {expert}) <= self.room

    def pins_against(self, _expert: str) -> tuple[str, ...]:
        return self.pins

    def num_ready(self, expert: str) -> int:
        return self.ready.get(expert, 0)

    def load_s(self, expert: str) -> float:
        return 0.0 if self.is_resident(expert) else self.seconds


class Moment:
    """Jobs of one KV byte a token that have arrived, and what is asked of them at `now_s`."""

    def __init__(self, weights: FakeWeights | None = None, **limits: float) -> None:
        self.weights = weights or FakeWeights()
        self.limits = Limits(**{"kv_bytes": 10_000, "max_wait_s": 1e9, **limits})  # type: ignore[arg-type]
        self.queues = JobQueues(self.limits)
        self.kv = KvBudget(self.limits.kv_bytes, self.queues.is_in_step)

    def arrive(
        self, job_id: str, expert: str, at_s: float = 0.0, *, prompt: int = 5, most: int = 5, donor: str | None = None
    ) -> Job:
        job = Job(job_id, expert, prompt, prompt + most, lambda num_tokens: num_tokens, at_s, donor)
        self.queues.add(job)
        return job

    def start(self, job: Job, *, num_prefilled: int | None = None) -> Job:
        """Let a job begin, and have its prompt prefilled as far as `num_prefilled`; None: all of it."""
        self.kv.reserve(job)
        job.num_prefilled = job.num_prefill_tokens if num_prefilled is None else num_prefilled
        return job

    def lease(self, expert: str, *, num_steps: int = 0, last_step_s: float | None = None) -> ExpertQueue:
        queue = self.queues.by_expert[expert]
        queue.lease()
        queue.num_steps = num_steps
        queue.last_step_s = queue.last_step_s if last_step_s is None else last_step_s
        self.weights.leased.add(expert)
        return queue

    def step(self, expert: str, *jobs: Job, stopped_at: int = 0) -> None:
        """Have these jobs in a step that waits for a unit."""
        queue = self.queues.by_expert[expert]
        queue.step_tokens, queue.stopped_at = {job.id: 1 for job in jobs}, stopped_at

    def outlook(self, now_s: float = 10.0, batch_size: int = 4) -> Outlook:
        return Outlook(self.queues, self.kv, self.weights, self.limits, batch_size, now_s)
