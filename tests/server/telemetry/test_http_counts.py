"""Requests are counted by the template of their URL: no client can make labels."""

from __future__ import annotations

import re

import httpx
import pytest
from server_live import Live, post

from server.telemetry.http_counts import Answered, HttpCounts


def test_requests_are_counted_when_they_end() -> None:
    counts = HttpCounts()
    counts.began()
    counts.began()
    counts.ended("GET", "/x", 200, 0.3)
    counts.ended("BREW", None, 404, 0.1)
    counts.began()
    found = counts.snapshot()
    assert found.requests == {Answered("GET", "/x", 200): 1, Answered("other", "unknown", 404): 1}
    assert found.in_flight == 1
    assert (found.seconds["/x"].sum_s, sum(found.seconds["/x"].counts)) == (0.3, 1)


def test_routes_are_templates_and_what_is_none_is_one(live: Live) -> None:
    for path in ("/nowhere", "/no/where", "/admin/experts/other/shake", "/v1/models/other", "/v1/models/general"):
        httpx.get(f"{live.url}{path}")
    post(live, "/admin/experts/other/shake", {})
    post(live, "/v1/chat/completions", {})
    text = httpx.get(f"{live.url}/metrics").text
    routes = set(re.findall(r'coe_http_requests_total\{method="\w+",route="([^"]+)"', text))
    assert {"unknown", "/v1/models/{name}", "/admin/experts/{name}/{command}", "/v1/chat/completions"} <= routes
    assert not [route for route in routes if "other" in route or "where" in route]
    assert 'coe_http_requests_total{method="POST",route="/v1/chat/completions",status="400"}' in text


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_counted_with_its_status(live: Live, stream: bool) -> None:
    line = 'coe_http_requests_total{method="POST",route="/v1/chat/completions",status="200"} '

    def count() -> float:
        found = [each for each in httpx.get(f"{live.url}/metrics").text.splitlines() if each.startswith(line)]
        return float(found[0].removeprefix(line)) if found else 0.0

    before = count()
    body = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 2, "stream": stream}
    assert post(live, "/v1/chat/completions", body).status_code == 200
    assert count() == before + 1
