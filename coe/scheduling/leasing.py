"""Leasing: which experts hold a lease, and so the right to step and to have their absent weights loaded.

An expert keeps its lease until it has no jobs, or until another needs its memory and it has had its slice. The policy
says which expert is leased first and which gives up its lease first; the WeightsView says what fits into memory.
"""

from __future__ import annotations

from coe.scheduling.effects import Acquire, Release
from coe.scheduling.outlook import Outlook
from coe.scheduling.policy import SchedulingPolicy
from coe.scheduling.queues import ExpertQueue, JobQueues
from coe.scheduling.weights_view import WeightsView

__all__ = ["Leasing"]


class Leasing:
    """Gives leases to experts and takes them back."""

    def __init__(self, queues: JobQueues, weights: WeightsView, policy: SchedulingPolicy, slice_steps: int) -> None:
        self._queues = queues
        self._weights = weights
        self._policy = policy
        self._slice_steps = policy.slice_steps(slice_steps)

    def release_idle(self) -> list[Release]:
        """Close the leases of experts that have no jobs left."""
        idle = [queue for queue in self._queues.by_expert.values() if queue.is_leased and not queue.jobs]
        return [_release(queue) for queue in idle]

    def lease_one(self, outlook: Outlook) -> list[Release | Acquire]:
        """Lease the first expert that can be had; one with absent weights only while no other loads.

        One in a decision: the WeightsView counts its bytes only after the effects are carried out.
        """
        is_loading = any(not outlook.is_resident(queue) for queue in outlook.leased)
        for queue in self._policy.to_lease(outlook):
            if is_loading and not outlook.is_resident(queue):
                continue
            given_up = self._give_up_for(queue, outlook)
            if given_up is not None:
                queue.lease()
                return [*map(_release, given_up), Acquire(queue.expert)]
        return []

    def _give_up_for(self, queue: ExpertQueue, outlook: Outlook) -> list[ExpertQueue] | None:
        """The leases to close so that this expert fits; empty if it fits, None if it cannot be made to fit now."""
        if self._weights.can_lease(queue.expert):
            return []
        given_up: list[ExpertQueue] = []
        for other in self._policy.to_release(outlook, self._releasable_for(queue, outlook)):
            given_up.append(other)
            if self._weights.can_lease(queue.expert, [each.expert for each in given_up]):
                return given_up
        return None

    def _releasable_for(self, queue: ExpertQueue, outlook: Outlook) -> list[ExpertQueue]:
        """Leased experts between steps that have had their slice (one step, for an overdue job) or cannot step."""
        slice_steps = min(1, self._slice_steps) if outlook.overdue_job(queue) is not None else self._slice_steps
        return [
            other
            for other in outlook.leased
            if not other.is_in_step and (other.num_steps >= slice_steps or not outlook.can_begin(other))
        ]


def _release(queue: ExpertQueue) -> Release:
    queue.is_leased = False
    return Release(queue.expert)
