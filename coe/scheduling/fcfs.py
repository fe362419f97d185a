"""FcfsPolicy serves one request at a time, first come first served, on whole experts: the SN40L paper's baseline.

Nothing overlaps: an expert begins its step when all its weights are there, and no load is expected ahead. With LRU
eviction it is the baseline that the benchmarks compare with.
"""

from __future__ import annotations

from collections.abc import Iterable

from coe.scheduling.outlook import Outlook
from coe.scheduling.queues import ExpertQueue
from coe.scheduling.value import least_worth_first

__all__ = ["FcfsPolicy"]


class FcfsPolicy:
    """The baseline policy."""

    def batch_size(self, _max_batch_size: int) -> int:
        return 1

    def slice_steps(self, _slice_steps: int) -> int:
        return 0  # an expert that is not the first job's keeps no memory from it

    def to_lease(self, outlook: Outlook) -> list[ExpertQueue]:
        """The expert of the first job, and no other."""
        queue = _first(outlook)
        return [queue] if queue is not None and not queue.is_leased and outlook.can_begin(queue) else []

    def to_expect(self, _outlook: Outlook, _hinted: Iterable[str]) -> tuple[str, ...]:
        return ()

    def to_release(self, outlook: Outlook, leased: Iterable[ExpertQueue]) -> list[ExpertQueue]:
        return least_worth_first(outlook, leased)

    def to_step(self, outlook: Outlook) -> ExpertQueue | None:
        """The expert whose step is under way, else that of the first job once it is whole."""
        first = _first(outlook)
        for queue in outlook.leased:
            is_whole = queue is first and outlook.is_resident(queue)
            if (queue.is_in_step or is_whole) and outlook.can_step(queue):
                return queue
        return None


def _first(outlook: Outlook) -> ExpertQueue | None:
    """The expert of the job that has begun, else of the oldest job."""
    jobs = outlook.queues.jobs.values()
    job = next((job for job in jobs if job.is_started), None) or next(iter(jobs), None)
    return outlook.queues.by_expert[job.expert] if job is not None else None
