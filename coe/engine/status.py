"""Questions about the engine that any thread may ask.

They read counters and sets that only the engine thread changes, so an answer may be one event old and is never torn.
"""

from __future__ import annotations

import time

from coe.errors import BreakerOpenError
from coe.scheduling.breakers import Breakers
from coe.scheduling.scheduler import Scheduler
from coe.statuses import UnitStatus, WaitingStatus
from coe.telemetry.metrics import Gauges
from coe.types import BreakerState
from coe.weights.cache import WeightCache
from coe.weights.report import ExpertResidency

__all__ = ["EngineStatus"]


class EngineStatus:
    """What the engine is doing, expert by expert."""

    def __init__(self, cache: WeightCache, scheduler: Scheduler, breakers: Breakers) -> None:
        self._cache, self._scheduler, self._breakers = cache, scheduler, breakers

    @property
    def deadline_s(self) -> float:
        """Seconds that a request has to its first token."""
        return self._scheduler.deadline_s

    def residency(self, expert: str) -> ExpertResidency:
        return self._cache.report.residency(expert)

    def unit_statuses(self, expert: str) -> tuple[UnitStatus, ...]:
        """Where each unit of the expert is."""
        return self._cache.report.unit_statuses(expert)

    def missing_bytes(self, expert: str) -> int:
        """Bytes that a lease of the expert would have to move."""
        return self._cache.report.missing_bytes(expert)

    def load_s(self, expert: str) -> float:
        """Seconds after which a lease of the expert would be ready, at the speeds measured so far."""
        return self._cache.report.load_s(expert)

    def num_requests(self, expert: str) -> int:
        return self._scheduler.num_requests(expert)

    def waiting(self, request_id: str, expert: str) -> WaitingStatus:
        """What a request that has given no token waits for."""
        residency = self._cache.report.residency(expert)
        here = residency.size_bytes - self._cache.report.missing_bytes(expert)
        queued = self._scheduler.queue_lengths().get(expert, 0)
        return WaitingStatus(expert, self._scheduler.position(request_id), queued, here, residency.size_bytes)

    def error(self, expert: str) -> str | None:
        """What the expert's last failure was, None where it has run since."""
        error = self._breakers.of(expert).error
        return None if error is None else str(error)

    def breaker(self, expert: str) -> BreakerState:
        return self._breakers.of(expert).state(time.monotonic())

    def outage(self, expert: str) -> BreakerOpenError | None:
        """What a request to the expert would be refused with now, None where its breaker lets one through."""
        return self._breakers.outage(expert, time.monotonic())

    def outages(self) -> frozenset[str]:
        """Experts whose breaker lets no request through now."""
        return self._breakers.outages(time.monotonic())

    def idle_s(self, expert: str) -> float | None:
        """Seconds since the expert was last used, None if never."""
        last_s = self._cache.report.last_used_s(expert)
        return None if last_s is None else time.monotonic() - last_s

    def gauges(self) -> Gauges:
        return Gauges(
            queued=self._scheduler.queue_lengths(),
            used_bytes=self._cache.report.used_bytes(),
            budget_bytes=self._cache.report.budget_bytes(),
            breakers=self._breakers.states(time.monotonic()),
        )
