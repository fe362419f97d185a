"""Questions about the engine that any thread may ask.

They read counters and sets that only the engine thread changes, so an answer may be one event old and is never torn.
"""

from __future__ import annotations

import time

from coe.errors import BreakerOpenError
from coe.scheduling.breakers import Breakers
from coe.scheduling.queues import RequestCounts
from coe.scheduling.scheduler import Scheduler
from coe.statuses import UnitStatus, WaitingStatus
from coe.telemetry.metrics import Gauges
from coe.types import BreakerState
from coe.weights.cache import WeightCache
from coe.weights.report import CacheReport, ExpertResidency
from coe.weights.tier_log import Moved

__all__ = ["EngineStatus"]

NONE = RequestCounts(0, 0)


class EngineStatus:
    """What the engine is doing, expert by expert."""

    def __init__(self, cache: WeightCache, scheduler: Scheduler, breakers: Breakers, kv_budget_bytes: int) -> None:
        self._cache, self._scheduler, self._breakers = cache, scheduler, breakers
        self.kv_budget_bytes = kv_budget_bytes

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
        return WaitingStatus(expert, self._scheduler.queues.position(request_id), queued, here, residency.size_bytes)

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

    # -- for who watches

    @property
    def weights(self) -> CacheReport:
        return self._cache.report

    def requests(self) -> dict[str, RequestCounts]:
        """Requests that wait for their first step and that run, of every expert that had one."""
        return self._scheduler.queues.request_counts()

    @property
    def kv_used_bytes(self) -> int:
        return self._scheduler.kv_used_bytes

    def gauges(self) -> Gauges:
        """Return what the metrics read from here, every expert with its zeros."""
        report, breakers = self._cache.report, self._breakers.states(time.monotonic())
        requests = dict.fromkeys(breakers, NONE) | self.requests()
        return Gauges(
            queued={expert: counts.num_waiting for expert, counts in requests.items()},
            running={expert: counts.num_running for expert, counts in requests.items()},
            used_bytes=report.used_bytes(),
            budget_bytes=report.budget_bytes(),
            breakers=breakers,
            resident_bytes={
                (expert, tier): resident.ready_bytes
                for expert in breakers
                for tier, resident in report.resident(expert).items()
            },
            loads={expert: report.num_loads(expert) for expert in breakers},
            arrived={
                (expert, tier): log.arrivals().get(expert, Moved())
                for tier, log in report.logs().items()
                for expert in breakers
            },
            evicted={
                (expert, tier, why): moved
                for tier, log in report.logs().items()
                for (expert, why), moved in log.evictions().items()
            },
            kv_used_bytes=self.kv_used_bytes,
            kv_budget_bytes=self.kv_budget_bytes,
        )
