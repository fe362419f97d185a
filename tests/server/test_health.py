"""Readiness and metrics."""

from __future__ import annotations

import httpx
from server_live import Live, post

PROMPT = [{"role": "user", "content": "What is the capital of France?"}]


def test_metrics_count_what_happened(live: Live) -> None:
    post(live, "/v1/chat/completions", {"max_tokens": 2, "messages": PROMPT})
    text = httpx.get(f"{live.url}/metrics").text
    assert 'coe_requests_total{expert="general",outcome="ok"}' in text
    assert "coe_first_token_seconds_bucket" in text
    assert 'coe_resident_bytes{tier="device"}' in text


def test_a_server_that_runs_is_healthy_and_ready(live: Live) -> None:
    assert httpx.get(f"{live.url}/health").json() == {"status": "ok"}
    assert httpx.get(f"{live.url}/ready").json() == {"ready": True, "status": "ready"}
