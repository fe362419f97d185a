"""The counters of runtime and server as Prometheus text (prometheus-client's exposition format).

A custom collector: the numbers are those of coe/telemetry/metrics.py and telemetry/http_counts.py, and nothing is
counted here. Labels are names of the configuration, of the router's categories and of the code, so there are few.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import accumulate
from typing import TypeVar

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from coe.statuses import AnswersStatus
from coe.telemetry.histogram import Histogram
from coe.telemetry.metrics import Gauges, Metrics, MetricsSnapshot
from server.telemetry.http_counts import HttpCounts, HttpSnapshot

__all__ = ["exposition"]

KeyT = TypeVar("KeyT", bound=str)  # an expert, a tier, a kind of switch
KeysT = TypeVar("KeysT", bound="tuple[str, ...]")  # the values of a series' labels
PACKAGE = "coe-serve"


def exposition(metrics: Metrics, http: HttpCounts) -> bytes:
    """Return every series since the start, in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Collector(metrics.snapshot(), http.snapshot()))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, now: MetricsSnapshot, http: HttpSnapshot) -> None:
        self._now, self._http = now, http

    def collect(self) -> Iterator[Metric]:
        now = self._now
        yield _gauge("coe_build_info", "What runs; the value is always 1.", BUILD, {_build(): 1})
        yield from _http(self._http)
        yield from _requests(now)
        yield from _engine(now)
        yield from _weights(now)
        if now.answers is not None and now.answers.is_enabled:
            yield from _answer_cache(now.answers)


BUILD = ("version", "python", "torch")


@cache
def _build() -> tuple[str, ...]:
    return _version_of(PACKAGE), platform.python_version(), _version_of("torch")


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from its folder, without being installed
        return "unknown"


def _http(now: HttpSnapshot) -> Iterator[Metric]:
    labels = ("method", "route", "status")
    counts = {(each.method, each.route, str(each.status)): count for each, count in now.requests.items()}
    yield _counter("coe_http_requests", "HTTP requests that were answered.", labels, counts)
    yield _gauge("coe_http_requests_in_flight", "HTTP requests that are being answered.", (), {(): now.in_flight})
    text = "Time from a request's headers to the last byte of its answer."
    family = HistogramMetricFamily("coe_http_request_seconds", text, labels=["route"])
    for route, observed in now.seconds.items():
        family.add_metric([route], buckets=_buckets(observed), sum_value=observed.sum_s)
    yield family


def _requests(now: MetricsSnapshot) -> Iterator[Metric]:
    yield _counter("coe_requests", "Requests that ended.", ("expert", "outcome"), now.requests)
    text = "Requests that another expert took."
    yield _counter("coe_passed_over", text, ("expert", "reason"), now.passed_over)
    text = "Decisions on requests; `why` is abstain where the router was not sure."
    yield _counter("coe_decisions", text, ("expert", "category", "why"), now.decisions)
    if now.shadow:
        text = "Decisions beside which a router in shadow decided."
        yield _counter("coe_shadow_decisions", text, ("outcome",), _keyed(now.shadow))
    yield _histogram("coe_route_seconds", "Time to route a prompt.", now.route)
    yield _histogram("coe_queue_wait_seconds", "Time from a request's arrival to its first step.", now.queue_wait)
    yield _histogram("coe_first_token_seconds", "Time from a request's arrival to its first token.", now.first_token)
    yield _histogram("coe_inter_token_seconds", "Time from one token of an answer to the next.", now.inter_token)
    yield _histogram("coe_request_seconds", "Time from arrival to end of requests that ended well.", now.request)
    gauges = now.gauges
    text = "Requests that wait for their first step."
    yield _gauge("coe_queued_requests", text, ("expert",), _keyed(gauges.queued))
    yield _gauge("coe_running_requests", "Requests that have begun.", ("expert",), _keyed(gauges.running))


def _engine(now: MetricsSnapshot) -> Iterator[Metric]:
    gauges = now.gauges
    kinds = {"prompt": now.prompt_tokens, "cached_prompt": now.cached_tokens, "completion": now.completion_tokens}
    text = "Tokens prefilled, taken from KV that was kept, and sampled."
    yield _counter("coe_tokens", text, ("kind",), _keyed(kinds))
    yield _counter("coe_steps", "Forward passes.", (), {(): now.steps})
    text = "Sequences that gave up their KV for an older one."
    yield _counter(
        "coe_preemptions", text, ("expert",), _keyed({**dict.fromkeys(gauges.breakers, 0), **now.preemptions})
    )
    breakers = {expert: float(state != "closed") for expert, state in gauges.breakers.items()}
    text = "1 while an expert's breaker is open or half-open."
    yield _gauge("coe_breaker_open", text, ("expert",), _keyed(breakers))
    yield _gauge("coe_kv_used_bytes", "KV that requests have reserved.", (), {(): gauges.kv_used_bytes})
    yield _gauge("coe_kv_budget_bytes", "KV that there is for requests.", (), {(): gauges.kv_budget_bytes})


def _weights(now: MetricsSnapshot) -> Iterator[Metric]:
    gauges = now.gauges
    text = "Steps that ran another expert than the step before, by where its bytes were."
    yield _counter("coe_switches", text, ("expert", "kind"), now.switches)
    yield _counter("coe_loads", "Leases that had to move bytes.", ("expert",), _keyed(gauges.loads))
    yield _counter("coe_loaded_bytes", "Bytes moved into a tier.", ("tier",), _keyed(now.loaded_bytes))
    text = "Transfer time into a tier, summed over units."
    yield _counter("coe_load_seconds", text, ("tier",), _keyed(now.load_s))
    yield from _moved(gauges)
    yield _gauge("coe_resident_bytes", "Bytes resident or on their way, by tier.", ("tier",), _keyed(gauges.used_bytes))
    text = "Bytes of an expert that are ready in a tier; what experts share counts for each."
    yield _gauge("coe_expert_resident_bytes", text, ("expert", "tier"), gauges.resident_bytes)
    yield _gauge("coe_budget_bytes", "Budget of a tier.", ("tier",), _keyed(gauges.budget_bytes))


def _moved(gauges: Gauges) -> Iterator[Metric]:
    """What has come to tiers and left them; what experts share counts for the first of them."""
    text = "Bytes of an expert moved into a tier."
    arrived = {key: moved.bytes for key, moved in gauges.arrived.items()}
    yield _counter("coe_expert_loaded_bytes", text, ("expert", "tier"), arrived)
    labels = ("expert", "tier", "why")
    evicted = {key: moved.units for key, moved in gauges.evicted.items()}
    yield _counter("coe_evictions", "Units that left a tier.", labels, evicted)
    evicted = {key: moved.bytes for key, moved in gauges.evicted.items()}
    yield _counter("coe_evicted_bytes", "Bytes that left a tier.", labels, evicted)


def _answer_cache(now: AnswersStatus) -> Iterator[Metric]:
    hits = {"exact": now.num_exact_hits, "semantic": now.num_semantic_hits}
    yield _counter("coe_answer_cache_hits", "Requests that a kept answer answered.", ("kind",), _keyed(hits))
    misses = "Greedy requests that no kept answer answered."
    yield _counter("coe_answer_cache_misses", misses, (), {(): now.num_misses})
    removed = {"evicted": now.num_evicted, "expired": now.num_expired}
    yield _counter(
        "coe_answer_cache_removed", "Kept answers that made room or grew too old.", ("why",), _keyed(removed)
    )
    yield _gauge("coe_answer_cache_answers", "Answers kept now.", (), {(): now.num_answers})
    yield _gauge("coe_answer_cache_bytes", "Bytes of kept answers.", (), {(): now.used_bytes})
    yield _gauge("coe_answer_cache_budget_bytes", "Budget of kept answers.", (), {(): now.budget_bytes})


def _keyed(values: Mapping[KeyT, float]) -> dict[tuple[KeyT], float]:
    return {(key,): value for key, value in values.items()}


def _counter(name: str, text: str, labels: tuple[str, ...], values: Mapping[KeysT, float]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for keys, value in values.items():
        family.add_metric([str(key) for key in keys], value)
    return family


def _gauge(name: str, text: str, labels: tuple[str, ...], values: Mapping[KeysT, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for keys, value in values.items():
        family.add_metric([str(key) for key in keys], value)
    return family


def _histogram(name: str, text: str, observed: Histogram) -> HistogramMetricFamily:
    return HistogramMetricFamily(name, text, buckets=_buckets(observed), sum_value=observed.sum_s)


def _buckets(observed: Histogram) -> list[tuple[str, float]]:
    bounds = [*(f"{bound:g}" for bound in observed.bounds), "+Inf"]
    return list(zip(bounds, accumulate(observed.counts), strict=True))
