"""Counters of what the runtime does, readable from any thread as frozen snapshots.

Knows nothing about Prometheus or HTTP: `server/` turns a snapshot into text. Counters only grow; gauges (queues,
resident bytes) are read from their owners when a snapshot is taken.
"""

from __future__ import annotations

import bisect
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from coe.statuses import AnswersStatus
from coe.telemetry.events import EvictedWhy, Second
from coe.telemetry.histogram import SECONDS, Histogram
from coe.telemetry.throughput import Throughput
from coe.types import BreakerState, Decision, SwitchKind, Tier
from coe.weights.tier_log import Moved
from coe.weights.transfer import Arrived

__all__ = ["Decisions", "Gauges", "Metrics", "MetricsSnapshot"]


@dataclass(frozen=True, slots=True)
class Gauges:
    """What is read from its owners: values of the moment, and the weight cache's own counts.

    Requests, breakers and loads are by expert, used bytes and budgets by tier; `resident_bytes`, `arrived` and
    `evicted` by both. Experts without requests are there with zero.
    """

    queued: Mapping[str, int] = field(default_factory=dict)
    used_bytes: Mapping[Tier, int] = field(default_factory=dict)
    budget_bytes: Mapping[Tier, int] = field(default_factory=dict)
    breakers: Mapping[str, BreakerState] = field(default_factory=dict)
    running: Mapping[str, int] = field(default_factory=dict)
    resident_bytes: Mapping[tuple[str, Tier], int] = field(default_factory=dict)
    loads: Mapping[str, int] = field(default_factory=dict)
    arrived: Mapping[tuple[str, Tier], Moved] = field(default_factory=dict)
    evicted: Mapping[tuple[str, Tier, EvictedWhy], Moved] = field(default_factory=dict)
    kv_used_bytes: int = 0
    kv_budget_bytes: int = 0


class Decisions(NamedTuple):
    """What decisions are counted by; the category is empty where none was named."""

    expert: str
    category: str
    why: str


@dataclass(frozen=True, slots=True)
class MetricsSnapshot:
    """All counts since start. `loaded_bytes` and `load_s` are by the tier that the bytes went to."""

    requests: Mapping[tuple[str, str], int]  # (expert, outcome: ok | cancelled | the error's class) -> count
    passed_over: Mapping[tuple[str, str], int]  # (expert, reason) -> how often a request went on to another
    decisions: Mapping[Decisions, int]
    prompt_tokens: int  # prefilled
    cached_tokens: int  # of prompts, copied from KV that was kept
    completion_tokens: int
    steps: int
    preemptions: Mapping[str, int]  # by expert
    switches: Mapping[tuple[str, SwitchKind], int]  # to an expert
    loaded_bytes: Mapping[Tier, int]
    load_s: Mapping[Tier, float]
    first_token: Histogram
    inter_token: Histogram
    queue_wait: Histogram
    request: Histogram  # from arrival to the end of those that ended well
    route: Histogram
    gauges: Gauges
    answers: AnswersStatus | None  # the answer cache's own counts
    shadow: Mapping[str, int]  # what a router in shadow said: same | different | failed -> decisions


class _Observed:
    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        self.counts[bisect.bisect_left(SECONDS, seconds)] += times
        self.sum_s += seconds * times

    def frozen(self) -> Histogram:
        return Histogram(SECONDS, tuple(self.counts), self.sum_s)


class Metrics:
    """Thread-safe; every method but `snapshot` and `seconds` only adds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, str]] = Counter()
        self._passed_over: Counter[tuple[str, str]] = Counter()
        self._shadow: Counter[str] = Counter()
        self._decisions: Counter[Decisions] = Counter()
        self._prompt_tokens = self._cached_tokens = self._completion_tokens = self._steps = 0
        self._preemptions: Counter[str] = Counter()
        self._switches: Counter[tuple[str, SwitchKind]] = Counter()
        self._loaded_bytes: Counter[Tier] = Counter()
        self._load_s: dict[Tier, float] = {}
        self._first_token, self._inter_token, self._route = _Observed(), _Observed(), _Observed()
        self._queue_wait, self._request = _Observed(), _Observed()
        self._throughput = Throughput()
        self._gauges: Callable[[], Gauges] = Gauges
        self._answers: Callable[[], AnswersStatus | None] = lambda: None

    def read_gauges_with(self, read: Callable[[], Gauges]) -> None:
        """Name the function that `snapshot` reads the gauges with."""
        self._gauges = read

    def read_answers_with(self, read: Callable[[], AnswersStatus]) -> None:
        """Name the function that `snapshot` reads the answer cache's counts with."""
        self._answers = read

    def decided(self, decision: Decision) -> None:
        """Count the first decision on a request."""
        with self._lock:
            self._decisions[Decisions(decision.expert, decision.category or "", decision.why)] += 1

    def finished(self, expert: str, outcome: str, seconds: float = 0.0, wait_s: float | None = None) -> None:
        """Count a request that has ended, for the last expert that it was given to.

        `seconds` are those since its arrival, `wait_s` those before its first step, where the engine has answered.
        """
        with self._lock:
            self._requests[expert, outcome] += 1
            if outcome == "ok":
                self._request.add(seconds)
            if wait_s is not None:
                self._queue_wait.add(wait_s)
            self._throughput.add(time.time(), requests=1)

    def passed_over(self, expert: str, reason: str) -> None:
        with self._lock:
            self._passed_over[expert, reason] += 1

    def shadowed(self, outcome: Literal["same", "different", "failed"]) -> None:
        """Count a decision beside which a router in shadow decided."""
        with self._lock:
            self._shadow[outcome] += 1

    def routed(self, seconds: float) -> None:
        with self._lock:
            self._route.add(seconds)

    def first_token(self, seconds: float) -> None:
        with self._lock:
            self._first_token.add(seconds)

    def stepped(
        self,
        num_prompt_tokens: int,
        num_completion_tokens: int,
        num_cached_tokens: int = 0,
        gaps_s: Iterable[float] = (),
    ) -> None:
        """Count a forward pass; `gaps_s` are the seconds since the token before, of each sequence that had one."""
        with self._lock:
            self._cached_tokens += num_cached_tokens
            for seconds, times in Counter(gaps_s).items():  # sequences that step together have the same
                self._inter_token.add(seconds, times)
            self._steps += 1
            self._prompt_tokens += num_prompt_tokens
            self._completion_tokens += num_completion_tokens
            self._throughput.add(time.time(), prompt_tokens=num_prompt_tokens, completion_tokens=num_completion_tokens)

    def switched(self, expert: str, kind: SwitchKind) -> None:
        with self._lock:
            self._switches[expert, kind] += 1

    def preempted(self, expert: str) -> None:
        with self._lock:
            self._preemptions[expert] += 1

    def loaded(self, event: Arrived) -> None:
        """Count a transfer of a unit that has ended; one that failed moved nothing."""
        if event.error is None:
            with self._lock:
                self._loaded_bytes[event.tier] += event.size_bytes
                took_s = event.ended_s - event.started_s
                self._load_s[event.tier] = self._load_s.get(event.tier, 0.0) + took_s

    def seconds(self, start_s: int, end_s: int) -> tuple[Second, ...]:
        """Return tokens and requests by the second of unix time, from `start_s` to before `end_s`."""
        with self._lock:
            return self._throughput.between(start_s, end_s)

    def snapshot(self) -> MetricsSnapshot:
        gauges, answers = self._gauges(), self._answers()
        with self._lock:
            return MetricsSnapshot(
                requests=dict(self._requests),
                passed_over=dict(self._passed_over),
                decisions=dict(self._decisions),
                prompt_tokens=self._prompt_tokens,
                cached_tokens=self._cached_tokens,
                completion_tokens=self._completion_tokens,
                steps=self._steps,
                preemptions=dict(self._preemptions),
                switches=dict(self._switches),
                loaded_bytes=dict(self._loaded_bytes),
                load_s=dict(self._load_s),
                first_token=self._first_token.frozen(),
                inter_token=self._inter_token.frozen(),
                queue_wait=self._queue_wait.frozen(),
                request=self._request.frozen(),
                route=self._route.frozen(),
                gauges=gauges,
                answers=answers,
                shadow=dict(self._shadow),
            )
