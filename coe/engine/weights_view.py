"""The weight cache as the scheduler sees it: residency of leased experts is told by their leases."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from coe.weights.cache import WeightCache
from coe.weights.lease import Lease

__all__ = ["CacheView"]


class CacheView:
    """See `scheduling.scheduler.Residency`; `leases` is the loop's own table of open leases."""

    def __init__(self, cache: WeightCache, leases: Mapping[str, Lease]) -> None:
        self._cache, self._leases = cache, leases

    def is_resident(self, expert: str) -> bool:
        lease = self._leases.get(expert)
        return lease.is_ready if lease is not None else not self._cache.report.missing_bytes(expert)

    def can_lease(self, expert: str, giving_up: Collection[str] = ()) -> bool:
        return self._cache.can_lease(expert, giving_up)

    def pins_against(self, expert: str) -> tuple[str, ...]:
        return self._cache.pins_against(expert)

    def num_ready(self, expert: str) -> int:
        lease = self._leases.get(expert)
        return lease.num_ready() if lease is not None else self._cache.report.num_leading(expert)

    def load_s(self, expert: str) -> float:
        return self._cache.report.load_s(expert)
