"""ValuePolicy serves the expert whose waiting work is worth most per second, switch included.

Work is worth jobs x seconds of waiting; beginning it costs the seconds until the expert's weights are loaded. Overdue
jobs go before all other work, in order of arrival; scheduler.py states the bound on waiting that follows. Loads run
while warm experts step. Experts in memory take turns step by step, because changing between them costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from coe.scheduling.outlook import Outlook
from coe.scheduling.queues import ExpertQueue

__all__ = ["ValuePolicy", "least_worth_first"]

MAX_EXPECTED = 8  # experts named ahead: more would be guesses about queues that will look different by then
SWITCH_S = 0.05  # what beginning an expert costs even where its weights are resident


class ValuePolicy:
    """The default policy."""

    def batch_size(self, max_batch_size: int) -> int:
        return max_batch_size

    def slice_steps(self, slice_steps: int) -> int:
        return slice_steps

    def to_lease(self, outlook: Outlook) -> list[ExpertQueue]:
        """Experts with overdue jobs in order of arrival, then by worth per second."""
        return sorted(outlook.leasable, key=lambda queue: _rank(outlook, queue))

    def to_expect(self, outlook: Outlook, hinted: Iterable[str]) -> tuple[str, ...]:
        queued = [queue.expert for queue in self.to_lease(outlook)]
        return (*queued, *hinted)[:MAX_EXPECTED]

    def to_release(self, outlook: Outlook, leased: Iterable[ExpertQueue]) -> list[ExpertQueue]:
        return least_worth_first(outlook, leased)

    def to_step(self, outlook: Outlook) -> ExpertQueue | None:
        """The expert with the oldest overdue job, else the one with most jobs x seconds since its last step.

        The latter grows without bound, so every leased expert has its turn.
        """
        able = [queue for queue in outlook.leased if outlook.can_step(queue)]
        overdue = [(job.arrived_s, at) for at, queue in enumerate(able) if (job := outlook.overdue_job(queue))]
        if overdue:
            return able[min(overdue)[1]]
        return max(able, key=lambda queue: _standing(outlook, queue), default=None)


def least_worth_first(outlook: Outlook, leased: Iterable[ExpertQueue]) -> list[ExpertQueue]:
    """Leased experts by the worth of their work, overdue work counted as none."""
    return sorted(leased, key=lambda queue: 0.0 if outlook.overdue_job(queue) else _worth(outlook, queue))


def _rank(outlook: Outlook, queue: ExpertQueue) -> tuple[bool, float]:
    job = outlook.overdue_job(queue)
    return (False, job.arrived_s) if job is not None else (True, -_worth(outlook, queue))


def _worth(outlook: Outlook, queue: ExpertQueue) -> float:
    """Jobs x seconds since the expert's last step (or its oldest arrival, if earlier), per second to begin them."""
    since_s = min(queue.last_step_s, min(job.arrived_s for job in queue.jobs.values()))
    return len(queue.jobs) * (outlook.now_s - since_s + 1e-3) / (SWITCH_S + outlook.load_s(queue))


def _standing(outlook: Outlook, queue: ExpertQueue) -> float:
    return len(queue.jobs) * (outlook.now_s - queue.last_step_s + 1e-6)
