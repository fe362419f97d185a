"""The runtime's counters as Prometheus text (prometheus-client's exposition format).

A custom collector: the numbers are those of coe/telemetry/metrics.py, and nothing is counted here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from coe.statuses import AnswersStatus
from coe.telemetry.metrics import Histogram, Metrics, MetricsSnapshot

__all__ = ["exposition"]

KeyT = TypeVar("KeyT", bound=str)  # an expert, a tier, a kind of switch


def exposition(metrics: Metrics) -> bytes:
    """Return every series since the start, in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Collector(metrics.snapshot()))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, now: MetricsSnapshot) -> None:
        self._now = now

    def collect(self) -> Iterator[Metric]:
        now = self._now
        requests = CounterMetricFamily("coe_requests", "Requests that ended.", labels=["expert", "outcome"])
        for (expert, outcome), count in now.requests.items():
            requests.add_metric([expert, outcome], count)
        yield requests
        passed = CounterMetricFamily(
            "coe_passed_over", "Requests that another expert took.", labels=["expert", "reason"]
        )
        for (expert, reason), count in now.passed_over.items():
            passed.add_metric([expert, reason], count)
        yield passed
        if now.shadow:
            text = "Decisions beside which a router in shadow decided."
            yield _counter("coe_shadow_decisions", text, "outcome", now.shadow)
        tokens = {"prompt": now.prompt_tokens, "completion": now.completion_tokens}
        yield _counter("coe_tokens", "Tokens prefilled and sampled.", "kind", tokens)
        yield CounterMetricFamily("coe_steps", "Forward passes.", value=now.steps)
        yield _counter("coe_switches", "Steps that ran another expert than the step before.", "kind", now.switches)
        yield _counter("coe_loaded_bytes", "Bytes moved into a tier.", "tier", now.loaded_bytes)
        yield _counter("coe_load_seconds", "Transfer time into a tier, summed over units.", "tier", now.load_s)
        yield _histogram("coe_first_token_seconds", "Time from submission to the first token.", now.first_token)
        yield _histogram("coe_route_seconds", "Time to route a prompt.", now.route)
        yield _gauge("coe_queued_requests", "Requests that wait for their first step.", "expert", now.gauges.queued)
        breakers = {expert: float(state != "closed") for expert, state in now.gauges.breakers.items()}
        yield _gauge("coe_breaker_open", "1 while an expert's breaker is open or half-open.", "expert", breakers)
        used = now.gauges.used_bytes
        yield _gauge("coe_resident_bytes", "Bytes resident or on their way, by tier.", "tier", used)
        yield _gauge("coe_budget_bytes", "Budget of a tier.", "tier", now.gauges.budget_bytes)
        if now.answers is not None and now.answers.is_enabled:
            yield from _answer_cache(now.answers)


def _answer_cache(now: AnswersStatus) -> Iterator[Metric]:
    hits = {"exact": now.num_exact_hits, "semantic": now.num_semantic_hits}
    yield _counter("coe_answer_cache_hits", "Requests that a kept answer answered.", "kind", hits)
    misses = "Greedy requests that no kept answer answered."
    yield CounterMetricFamily("coe_answer_cache_misses", misses, value=now.num_misses)
    removed = {"evicted": now.num_evicted, "expired": now.num_expired}
    yield _counter("coe_answer_cache_removed", "Kept answers that made room or grew too old.", "why", removed)
    yield GaugeMetricFamily("coe_answer_cache_answers", "Answers kept now.", value=now.num_answers)
    yield GaugeMetricFamily("coe_answer_cache_bytes", "Bytes of kept answers.", value=now.used_bytes)
    yield GaugeMetricFamily("coe_answer_cache_budget_bytes", "Budget of kept answers.", value=now.budget_bytes)


def _counter(name: str, text: str, label: str, values: Mapping[KeyT, float]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([str(key)], value)
    return family


def _gauge(name: str, text: str, label: str, values: Mapping[KeyT, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([str(key)], value)
    return family


def _histogram(name: str, text: str, observed: Histogram) -> HistogramMetricFamily:
    bounds = [*(f"{bound:g}" for bound in observed.bounds), "+Inf"]
    buckets = list(zip(bounds, accumulate(observed.counts), strict=True))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=observed.sum_s)
