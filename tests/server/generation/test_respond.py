"""One generation over HTTP: the decision before the text, the switch after it, and clients that leave."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
from compositions import write_config
from server_live import Live, live_server, own_units, post
from waits import until

PROMPT = [{"role": "user", "content": "What is the capital of France?"}]


def test_decision_and_switch_are_in_headers_and_in_the_first_and_last_chunk(live: Live) -> None:
    body = {"model": "other", "stream": True, "max_tokens": 3, "temperature": 0, "messages": PROMPT}
    with httpx.stream("POST", f"{live.url}/v1/chat/completions", json=body) as response:
        assert response.headers["x-coe-expert"] == "other"
        assert response.headers["x-coe-tier"] in ("disk", "host", "device")
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    first, last = json.loads(lines[0]), json.loads(lines[-2])
    assert first["coe"]["expert"] == "other"
    assert first["coe"]["why"] == "model"
    assert first["coe"]["switch"] == last["coe"]["switch"]
    assert last["coe"]["switch"]["kind"] in ("device_hit", "host_hit", "disk_miss")
    assert last["choices"][0]["finish_reason"] == "length"


def bytes_read(live: Live) -> float:
    """Bytes that have come from the disk since the start, for any request."""
    lines = httpx.get(f"{live.url}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith('coe_loaded_bytes_total{tier="host"}'))


def test_unloaded_expert_is_a_disk_miss_and_says_its_bytes(live: Live) -> None:
    assert post(live, "/admin/experts/other/unload", {}).status_code == 200
    before = bytes_read(live)
    answer = post(live, "/v1/chat/completions", {"model": "other", "max_tokens": 2, "messages": PROMPT}).json()
    assert answer["coe"]["tier"] == "disk"
    switch = answer["coe"]["switch"]
    if switch["kind"] != "device_hit":  # else the prefetch brought all of it while the prompt was being encoded
        assert switch["kind"] == "disk_miss"
        assert switch["loaded_bytes"] > 0
    assert bytes_read(live) > before
    again = post(live, "/v1/chat/completions", {"model": "other", "max_tokens": 2, "messages": PROMPT}).json()
    assert again["coe"]["tier"] == "device"
    assert again["coe"]["switch"]["loaded_bytes"] == 0


def test_broken_expert_fails_alone_and_by_name(tmp_path: Path, llama_folder: Path, other_llama_folder: Path) -> None:
    config = write_config(tmp_path, {"general": llama_folder, "other": other_llama_folder})
    with live_server(config) as broken:
        for file in (tmp_path / "store" / "units").rglob("*"):
            if file.is_file() and file.name in own_units(broken, "other"):
                file.write_bytes(b"")
        failed = post(broken, "/v1/chat/completions", {"model": "other", "max_tokens": 2, "messages": PROMPT})
        assert failed.status_code == 503
        assert "'other'" in failed.json()["error"]["message"]
        assert post(broken, "/v1/chat/completions", {"max_tokens": 2, "messages": PROMPT}).status_code == 200
        experts = httpx.get(f"{broken.url}/admin/experts").json()["experts"]
        assert [bool(expert["error"]) for expert in experts] == [False, True]


def test_closed_connection_cancels_the_generation(live: Live) -> None:
    body = {"model": "other", "stream": True, "max_tokens": 400, "messages": PROMPT, "temperature": 0}
    with httpx.stream("POST", f"{live.url}/v1/chat/completions", json=body) as response:
        next(response.iter_lines())
    until(
        lambda: not any(each["num_requests"] for each in httpx.get(f"{live.url}/admin/experts").json()["experts"]),
        "its request has ended",
    )
    requests = live.runtime.metrics.snapshot().requests
    assert requests.get(("other", "cancelled"), 0) >= 1
