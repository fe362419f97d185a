"""Admission: which requests are refused on arrival, and why.

What can never run is the request's own fault (400 over HTTP); what cannot run now may be tried again, or elsewhere: a
full queue, a deadline that cannot be met, pins that leave no room. The jobs of a request are admitted together or not
at all. Pure, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from coe.errors import DeadlineError, InvalidRequestError, OverloadedError, PinnedOutError
from coe.scheduling.job import Job
from coe.scheduling.limits import Limits
from coe.scheduling.queues import JobQueues
from coe.scheduling.weights_view import WeightsView

__all__ = ["Admission", "more_time"]

RETRY_S = (1.0, 60.0)  # the least and the most that a refused client is told to wait
LOAD_MARGIN = 2.0  # loads are estimated: one is late for certain only where it would take so many times the time left


class Admission:
    """Checks the jobs of one request, which are of one expert, against the limits and the moment."""

    def __init__(self, queues: JobQueues, weights: WeightsView, limits: Limits) -> None:
        self._queues, self._weights, self._limits = queues, weights, limits

    def check(self, jobs: Sequence[Job], now_s: float) -> None:
        """Raise what keeps the jobs out.

        Raises:
            InvalidRequestError: more jobs than a queue holds, or one whose KV would not fit into an empty budget.
            PinnedOutError: pins leave no room for the expert.
            DeadlineError: the deadline is past, or loading the expert takes too long to meet it.
            OverloadedError: a queue is full.
        """
        self._check_ever_fits(jobs)
        expert = jobs[0].expert
        if pins := self._weights.pins_against(expert):
            raise PinnedOutError(expert, pins)
        self._check_deadline(jobs[0], now_s)
        self._check_room(expert, len(jobs), now_s)

    def _check_ever_fits(self, jobs: Sequence[Job]) -> None:
        limits = self._limits
        if len(jobs) > (most := min(limits.max_queue, limits.max_queue_per_expert)):
            raise InvalidRequestError(
                f"the request asks for {len(jobs)} sequences and the queue holds {most}; ask for fewer, or raise "
                "[scheduler] max_queue and max_queue_per_expert",
                param="n",
            )
        needed_bytes = max(job.kv_bytes(job.num_tokens_max) for job in jobs)
        if needed_bytes > limits.kv_bytes:
            raise InvalidRequestError(
                f"the request may come to {needed_bytes:,} bytes of KV cache and the budget is {limits.kv_bytes:,}; "
                "shorten the prompt, lower max_tokens or raise [engine] kv_bytes",
                param="max_tokens",
            )

    def _check_deadline(self, job: Job, now_s: float) -> None:
        deadline_s, left_s = self._queues.patience_of(job), self._queues.deadline_of(job) - now_s
        if left_s <= 0:
            raise DeadlineError(
                f"the deadline of {deadline_s:g} s was over before expert '{job.expert}' could take the request "
                f"({now_s - job.arrived_s:.1f} s); {more_time(job)}"
            )
        load_s = self._weights.load_s(job.expert)
        if load_s > left_s * LOAD_MARGIN:
            raise DeadlineError(
                f"expert '{job.expert}' takes about {load_s:.1f} s to load, and {left_s:.1f} s of the deadline of "
                f"{deadline_s:g} s are left; {more_time(job)}",
                expert=job.expert,
            )

    def _check_room(self, expert: str, num_jobs: int, now_s: float) -> None:
        limits, waiting = self._limits, self._queues.lengths()
        if sum(waiting.values()) + num_jobs > limits.max_queue:
            raise OverloadedError(
                _full("", num_jobs, sum(waiting.values()), limits.max_queue, "max_queue"),
                retry_after_s=self._retry_after_s(now_s),
            )
        if waiting.get(expert, 0) + num_jobs > limits.max_queue_per_expert:
            most = limits.max_queue_per_expert
            raise OverloadedError(
                _full(f" for expert '{expert}'", num_jobs, waiting.get(expert, 0), most, "max_queue_per_expert"),
                expert=expert,
                retry_after_s=self._retry_after_s(now_s, expert),
            )

    def _retry_after_s(self, now_s: float, expert: str | None = None) -> float:
        """As long as the oldest waiting job has waited so far: what the queue takes just now."""
        least, most = RETRY_S
        return min(most, max(least, self._queues.waited_s(now_s, expert)))


def more_time(job: Job) -> str:
    """Return what to do about a deadline, in words for people."""
    key = "[scheduler] deadline_s" if job.deadline_s is None else "coe.deadline_s"
    return f"try again later or raise {key}"


def _full(where: str, num_jobs: int, num_waiting: int, most: int, key: str) -> str:
    places = f"{num_waiting} of {most} places in the queue{where} are taken"
    return f"{places} ([scheduler] {key}) and the request needs {num_jobs}; try later"
