"""Prometheus' text has every series with its labels; a histogram's buckets are cumulative."""

from __future__ import annotations

from coe.statuses import AnswersStatus
from coe.telemetry.metrics import Gauges, Metrics
from coe.types import SwitchKind, Tier
from coe.weights.transfer import Arrived
from server.prometheus import exposition


def test_every_series_is_there_with_its_labels() -> None:
    metrics = Metrics()
    metrics.finished("code", "ok")
    metrics.passed_over("code", "failing")
    metrics.shadowed("different")
    metrics.stepped(10, 2)
    metrics.switched(SwitchKind.HOST_HIT)
    metrics.loaded(Arrived("x", 100, Tier.HOST, 1.0, 3.0))
    metrics.read_gauges_with(
        lambda: Gauges({"code": 2}, {Tier.DEVICE: 5}, {Tier.DEVICE: 9}, {"code": "half-open", "sql": "closed"})
    )
    lines = exposition(metrics).decode().splitlines()
    for line in (
        'coe_requests_total{expert="code",outcome="ok"} 1.0',
        'coe_passed_over_total{expert="code",reason="failing"} 1.0',
        'coe_shadow_decisions_total{outcome="different"} 1.0',
        'coe_breaker_open{expert="code"} 1.0',
        'coe_breaker_open{expert="sql"} 0.0',
        'coe_tokens_total{kind="prompt"} 10.0',
        'coe_tokens_total{kind="completion"} 2.0',
        "coe_steps_total 1.0",
        'coe_switches_total{kind="host_hit"} 1.0',
        'coe_loaded_bytes_total{tier="host"} 100.0',
        'coe_load_seconds_total{tier="host"} 2.0',
        'coe_queued_requests{expert="code"} 2.0',
        'coe_resident_bytes{tier="device"} 5.0',
        'coe_budget_bytes{tier="device"} 9.0',
    ):
        assert line in lines


def test_buckets_are_cumulative() -> None:
    metrics = Metrics()
    for seconds in (0.001, 0.3, 1e6):
        metrics.first_token(seconds)
    lines = exposition(metrics).decode().splitlines()
    for bound, count in (("0.001", 1), ("0.25", 1), ("0.5", 2), ("300", 2), ("+Inf", 3)):
        assert f'coe_first_token_seconds_bucket{{le="{bound}"}} {count}.0' in lines
    assert "coe_first_token_seconds_count 3.0" in lines


def test_the_answer_cache_has_series_where_it_is_on() -> None:
    metrics = Metrics()
    assert b"answer_cache" not in exposition(metrics)
    metrics.read_answers_with(lambda: AnswersStatus(True, 4, 5000, 9000, 3, 2, 7, 1, 6))
    lines = exposition(metrics).decode().splitlines()
    for line in (
        'coe_answer_cache_hits_total{kind="exact"} 3.0',
        'coe_answer_cache_hits_total{kind="semantic"} 2.0',
        "coe_answer_cache_misses_total 7.0",
        'coe_answer_cache_removed_total{why="evicted"} 1.0',
        'coe_answer_cache_removed_total{why="expired"} 6.0',
        "coe_answer_cache_answers 4.0",
        "coe_answer_cache_bytes 5000.0",
        "coe_answer_cache_budget_bytes 9000.0",
    ):
        assert line in lines
