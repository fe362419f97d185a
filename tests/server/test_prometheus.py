"""Prometheus' text has every series with its labels; a histogram's buckets are cumulative."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
from compositions import write_config
from prometheus_client.parser import text_string_to_metric_families
from server_live import live_server, post

from coe.statuses import AnswersStatus
from coe.telemetry.metrics import Gauges, Metrics
from coe.types import SwitchKind, Tier
from coe.weights.transfer import Arrived
from server.prometheus import exposition
from server.telemetry.http_counts import HttpCounts


def test_every_series_is_there_with_its_labels() -> None:
    metrics = Metrics()
    metrics.finished("code", "ok")
    metrics.passed_over("code", "failing")
    metrics.shadowed("different")
    metrics.stepped(10, 2)
    metrics.switched("code", SwitchKind.HOST_HIT)
    metrics.loaded(Arrived("x", 100, Tier.HOST, 1.0, 3.0))
    metrics.read_gauges_with(
        lambda: Gauges({"code": 2}, {Tier.DEVICE: 5}, {Tier.DEVICE: 9}, {"code": "half-open", "sql": "closed"})
    )
    lines = exposition(metrics, HttpCounts()).decode().splitlines()
    for line in (
        'coe_requests_total{expert="code",outcome="ok"} 1.0',
        'coe_passed_over_total{expert="code",reason="failing"} 1.0',
        'coe_shadow_decisions_total{outcome="different"} 1.0',
        'coe_breaker_open{expert="code"} 1.0',
        'coe_breaker_open{expert="sql"} 0.0',
        'coe_tokens_total{kind="prompt"} 10.0',
        'coe_tokens_total{kind="completion"} 2.0',
        "coe_steps_total 1.0",
        'coe_switches_total{expert="code",kind="host_hit"} 1.0',
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
    lines = exposition(metrics, HttpCounts()).decode().splitlines()
    for bound, count in (("0.001", 1), ("0.25", 1), ("0.5", 2), ("300", 2), ("+Inf", 3)):
        assert f'coe_first_token_seconds_bucket{{le="{bound}"}} {count}.0' in lines
    assert "coe_first_token_seconds_count 3.0" in lines


def test_the_answer_cache_has_series_where_it_is_on() -> None:
    metrics = Metrics()
    assert b"answer_cache" not in exposition(metrics, HttpCounts())
    metrics.read_answers_with(lambda: AnswersStatus(True, 4, 5000, 9000, 3, 2, 7, 1, 6))
    lines = exposition(metrics, HttpCounts()).decode().splitlines()
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


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory, llama_folder: Path, other_llama_folder: Path) -> list[str]:
    """What a live server says before anything is asked, and after a request of three choices."""
    experts = {"general": llama_folder, "other": other_llama_folder}
    texts = []
    with live_server(write_config(tmp_path_factory.mktemp("scraped"), experts)) as live:
        texts.append(httpx.get(f"{live.url}/metrics").text)
        prompt = "What is the capital of France? " * 4  # a short one is computed again
        body = {"messages": [{"role": "user", "content": prompt}], "max_tokens": 4, "n": 3, "ignore_eos": True}
        post(live, "/v1/chat/completions", body)
        post(live, "/v1/chat/completions", body)
        texts.append(httpx.get(f"{live.url}/metrics").text)
    return texts


def values(text: str) -> dict[str, float]:
    return {
        sample.name + "".join(f"|{value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_gauges_are_there_at_zero_before_the_first_request(scraped: list[str]) -> None:
    found = values(scraped[0])
    for expert in ("general", "other"):
        for name in ("coe_queued_requests", "coe_running_requests", "coe_loads_total", "coe_preemptions_total"):
            assert found[f"{name}|{expert}"] == 0
        assert found[f"coe_expert_resident_bytes|{expert}|device"] == 0
    assert found["coe_kv_used_bytes"] == 0
    assert found["coe_kv_budget_bytes"] > 0
    assert any(name.startswith("coe_build_info|") for name in found)
    assert found["process_resident_memory_bytes"] > 0
    assert found["coe_request_seconds_count"] == 0


def test_a_request_of_several_choices_is_one(scraped: list[str]) -> None:
    found = values(scraped[1])
    assert found["coe_requests_total|general|ok"] == 2
    assert found["coe_decisions_total||general|general"] == 2
    for name in ("request", "queue_wait", "first_token"):
        assert found[f"coe_{name}_seconds_count"] == 2
    assert found["coe_tokens_total|completion"] == 24
    assert found["coe_inter_token_seconds_count"] == 24 - 6
    assert found["coe_tokens_total|cached_prompt"] > 0
    assert found["coe_expert_resident_bytes|general|device"] == found["coe_expert_loaded_bytes_total|general|host"]
    assert found["coe_queued_requests|general"] == found["coe_running_requests|general"] == 0


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool (Debian: apt-get install prometheus)")
def test_promtool_has_nothing_to_say(scraped: list[str]) -> None:
    for text in scraped:
        done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
