"""HTTP requests by method, route and status, and how long they took to the last byte.

Owns that labels stay few: a route is its template, and what has none is one. On the event loop alone.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from coe.telemetry.histogram import SECONDS, Histogram

__all__ = ["Answered", "HttpCounts", "HttpSnapshot"]

METHODS = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH")
UNKNOWN = "unknown"


class Answered(NamedTuple):
    """What requests are counted by."""

    method: str
    route: str
    status: int


@dataclass(frozen=True, slots=True)
class HttpSnapshot:
    """All counts since the start; `in_flight` is the requests that are being answered now."""

    requests: Mapping[Answered, int]
    seconds: Mapping[str, Histogram]  # by route
    in_flight: int


class _Seconds:
    def __init__(self) -> None:
        self.counts, self.sum_s = [0] * (len(SECONDS) + 1), 0.0


class HttpCounts:
    """Counts requests when they end."""

    def __init__(self) -> None:
        self._requests: Counter[Answered] = Counter()
        self._seconds: dict[str, _Seconds] = {}
        self._in_flight = 0

    def began(self) -> None:
        self._in_flight += 1

    def ended(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """Count a request; `route` is the template of its URL, None where there is none."""
        self._in_flight -= 1
        route = route or UNKNOWN
        self._requests[Answered(method if method in METHODS else "other", route, status)] += 1
        observed = self._seconds.setdefault(route, _Seconds())
        observed.counts[bisect.bisect_left(SECONDS, seconds)] += 1
        observed.sum_s += seconds

    def snapshot(self) -> HttpSnapshot:
        seconds = {name: Histogram(SECONDS, tuple(each.counts), each.sum_s) for name, each in self._seconds.items()}
        return HttpSnapshot(dict(self._requests), seconds, self._in_flight)
