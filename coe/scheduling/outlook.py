"""Outlook: what each expert could do with a turn at one moment.

The scheduler makes one for each decision and asks it, and a policy ranks experts by it. It computes an expert's next
batch at most once: jobs and KV do not change while a decision is made, only leases do. Changes nothing itself.
"""

from __future__ import annotations

from coe.scheduling.batch import Batch, BatchComposer
from coe.scheduling.job import Job
from coe.scheduling.kv_budget import KvBudget
from coe.scheduling.limits import Limits
from coe.scheduling.queues import ExpertQueue, JobQueues
from coe.scheduling.weights_view import WeightsView

__all__ = ["Outlook"]


class Outlook:
    """Facts about every expert at `now_s`, for one decision; at most `batch_size` jobs of an expert run at once."""

    def __init__(
        self, queues: JobQueues, kv: KvBudget, weights: WeightsView, limits: Limits, batch_size: int, now_s: float
    ) -> None:
        self.queues = queues
        self.weights = weights
        self.now_s = now_s
        overdue = [
            job
            for queue in queues.by_expert.values()
            if (job := queues.overdue_job(queue, now_s)) is not None and queue.num_free_slots(batch_size)
        ]
        overdue.sort(key=lambda job: job.number)
        self._headroom = kv.headroom({job.expert: job for job in overdue})
        self._composer = BatchComposer(queues, kv, self._headroom, batch_size, limits.max_step_tokens)
        self._batches: dict[str, Batch] = {}

    @property
    def leased(self) -> list[ExpertQueue]:
        return [queue for queue in self.queues.by_expert.values() if queue.is_leased]

    @property
    def leasable(self) -> list[ExpertQueue]:
        """Experts without a lease that have a step to begin."""
        return [queue for queue in self.queues.by_expert.values() if not queue.is_leased and self.can_begin(queue)]

    def batch(self, queue: ExpertQueue) -> Batch:
        """The batch of the step that the expert could begin now."""
        if queue.expert not in self._batches:
            self._batches[queue.expert] = self._composer.compose(queue)
        return self._batches[queue.expert]

    def can_begin(self, queue: ExpertQueue) -> bool:
        """Whether the expert has jobs that can run, weights aside."""
        return bool(self.batch(queue).num_tokens)

    def can_step(self, queue: ExpertQueue) -> bool:
        """Whether a leased expert can compute now: begin a step, or resume the one that waits for a unit."""
        num_ready = self.weights.num_ready(queue.expert)
        return num_ready > queue.stopped_at if queue.is_in_step else num_ready > 0 and self.can_begin(queue)

    def overdue_job(self, queue: ExpertQueue) -> Job | None:
        """The expert's overdue job, if it would begin in the expert's next step: a batch slot and KV can be had."""
        job = None if queue.is_in_step else self._headroom.overdue.get(queue.expert)
        return job if job is not None and self._headroom.preemptions_for(job) is not None else None

    def is_resident(self, queue: ExpertQueue) -> bool:
        return self.weights.is_resident(queue.expert)

    def load_s(self, queue: ExpertQueue) -> float:
        """Seconds until the expert's absent units are loaded."""
        return 0.0 if self.is_resident(queue) else self.weights.load_s(queue.expert)
