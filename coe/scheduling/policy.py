"""SchedulingPolicy: the seam between the scheduler and what chooses among experts that could all run.

Two policies exist: `value.ValuePolicy` and `fcfs.FcfsPolicy`. A policy ranks; it changes no queue and emits no effect.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from coe.scheduling.outlook import Outlook
from coe.scheduling.queues import ExpertQueue

__all__ = ["SchedulingPolicy"]


class SchedulingPolicy(Protocol):
    """Ranks experts by the facts of an Outlook."""

    def batch_size(self, max_batch_size: int, /) -> int:
        """How many jobs of one expert may run in a step, at most `max_batch_size`."""

    def slice_steps(self, slice_steps: int, /) -> int:
        """How many steps an expert may run before it has to give up its lease to another, at most `slice_steps`."""

    def to_lease(self, outlook: Outlook) -> Sequence[ExpertQueue]:
        """Experts without a lease that should have one, first the one that should have it first."""

    def to_expect(self, outlook: Outlook, hinted: Iterable[str], /) -> tuple[str, ...]:
        """Experts whose weights may move closer before they are leased; `hinted` ones have a prompt on its way."""

    def to_release(self, outlook: Outlook, leased: Iterable[ExpertQueue]) -> Sequence[ExpertQueue]:
        """These leased experts, first the one that gives up its lease first when another expert needs the memory."""

    def to_step(self, outlook: Outlook) -> ExpertQueue | None:
        """The leased expert that computes next, or None if none can or should."""
