"""GET /admin/events: a snapshot, then what happens, in order and resumable; for operators, until the server ends."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from api_keys import bearer, write_keys
from compositions import write_config
from server_live import Live, live_server, post
from waits import until


class Sent(NamedTuple):
    kind: str
    id: str | None
    data: dict[str, Any]


class Watcher:
    """Reads the stream on a thread; `events` are those so far."""

    def __init__(self) -> None:
        self.events: list[Sent] = []
        self.comments = 0
        self.has_ended = False

    def read(self, response: httpx.Response) -> None:
        fields: dict[str, str] = {}
        for line in response.iter_lines():
            if line.startswith(":"):
                self.comments += 1
            elif line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "data" in fields:
                self.events.append(Sent(fields["event"], fields.get("id"), json.loads(fields["data"])))
                fields = {}
        self.has_ended = True

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event.data for event in list(self.events) if event.kind == kind]


@contextmanager
def watching(live: Live, query: str = "", **headers: str) -> Iterator[Watcher]:
    watcher = Watcher()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with (
        httpx.Client(timeout=60) as client,
        client.stream("GET", f"{live.url}/admin/events{query}", headers=named) as response,
    ):
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")

        def read() -> None:
            try:
                watcher.read(response)
            except (httpx.HTTPError, httpx.StreamError):
                watcher.has_ended = True

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        until(lambda: watcher.of("snapshot"), "the snapshot has come")
        yield watcher


def ask(live: Live, expert: str, **fields: object) -> httpx.Response:
    body = {"model": expert, "messages": [{"role": "user", "content": "a secret word"}], "max_tokens": 3}
    return post(live, "/v1/chat/completions", {**body, **fields}, x_request_id="mine-1")


def test_a_request_is_told_from_its_arrival_to_its_end(live: Live) -> None:
    with watching(live) as watcher:
        answer = ask(live, "other", n=2).json()
        until(lambda: any(event["phase"] == "finished" for event in watcher.of("request")), "its end is told")
        told = watcher.of("request")
    assert [event["phase"] for event in told] == ["arrived", "decided", "admitted", "first_token", "finished"]
    assert {event["id"] for event in told} == {answer["id"].removeprefix("chatcmpl-")}
    assert {event["request_id"] for event in told} == {"mine-1"}
    last = told[-1]
    assert (last["expert"], last["why"], last["outcome"]) == ("other", "model", "ok")
    assert last["prompt_tokens"] == answer["usage"]["prompt_tokens"]
    assert last["completion_tokens"] == answer["usage"]["completion_tokens"]
    assert 0 <= last["wait_s"] <= last["first_token_s"] <= last["duration_s"]
    assert "secret" not in json.dumps([event.data for event in watcher.events])


def test_numbers_grow_by_one_and_are_the_ids(live: Live) -> None:
    with watching(live) as watcher:
        ask(live, "other")
        until(lambda: len(watcher.events) > 5, "events have come")
        events = list(watcher.events)
    first, run = events[0].data["seq"], (events[0].id or "").partition("-")[0]
    assert [event.data["seq"] for event in events] == list(range(first, first + len(events)))
    assert [event.id for event in events] == [f"{run}-{event.data['seq']}" for event in events]


def test_the_snapshot_has_experts_tiers_queue_and_what_is_shared(live: Live) -> None:
    ask(live, "general")
    with watching(live) as watcher:
        snapshot = watcher.of("snapshot")[0]
    experts = {expert["name"]: expert for expert in snapshot["experts"]}
    statuses = {status["name"]: status for status in httpx.get(f"{live.url}/admin/experts").json()["experts"]}
    assert experts.keys() == statuses.keys()
    for name, expert in experts.items():
        assert expert["size_bytes"] == statuses[name]["size_bytes"]
        assert sum(part["bytes"] for part in expert["shared"]) == statuses[name]["shared_bytes"]
    assert experts["general"]["device"]["ready_bytes"] == experts["general"]["size_bytes"]
    assert snapshot["has_one_memory"]
    assert snapshot["state"] == "ready"
    assert {tier["tier"] for tier in snapshot["tiers"]} == {"host", "device"}
    assert all(0 < tier["used_bytes"] <= tier["budget_bytes"] for tier in snapshot["tiers"])
    assert snapshot["queue"]["experts"] == {}
    assert snapshot["kv_budget_bytes"] > 0


def test_loads_switches_residency_evictions_and_pins_are_told(live: Live) -> None:
    post(live, "/admin/experts/other/unload", {})
    ask(live, "general")
    with watching(live) as watcher:
        post(live, "/admin/experts/other/load", {})
        ask(live, "other")
        post(live, "/admin/experts/other/pin", {})
        post(live, "/admin/experts/other/unpin", {})
        post(live, "/admin/experts/other/unload", {})
        until(lambda: watcher.of("eviction") and watcher.of("throughput"), "the eviction is told")
    started, done = watcher.of("load")[:2]
    assert (started["phase"], started["expert"], started["tier"]) == ("started", "other", "disk")
    assert (done["phase"], done["expert"]) == ("done", "other")
    assert done["loaded_bytes"] == started["missing_bytes"] > 0
    assert [(event["expert"], event["how"]) for event in watcher.of("switch")] == [("other", "device_hit")]
    assert [event["is_pinned"] for event in watcher.of("pin")] == [True, False]
    evicted = watcher.of("eviction")[0]
    assert (evicted["expert"], evicted["why"], evicted["tier"]) == ("other", "unload", "host")
    until(lambda: watcher.of("residency"), "its bytes are told")
    assert sum(second["completion_tokens"] for second in watcher.of("throughput")) >= 1


def test_only_the_kinds_that_are_asked_for_come(live: Live) -> None:
    with watching(live, "?kinds=pin,%20breaker") as watcher:
        ask(live, "other")
        post(live, "/admin/experts/other/pin", {})
        post(live, "/admin/experts/other/unpin", {})
        until(lambda: len(watcher.of("pin")) == 2, "pins are told")
    assert {event.kind for event in watcher.events} == {"snapshot", "pin"}
    refused = httpx.get(f"{live.url}/admin/events?kinds=pins")
    assert refused.status_code == 400
    assert "did you mean 'pin'" in refused.text


def test_who_comes_back_is_told_what_was_missed_and_then_what_is(live: Live) -> None:
    with watching(live) as watcher:
        ask(live, "other")
        until(lambda: any(event["phase"] == "finished" for event in watcher.of("request")), "its end is told")
        events = [event for event in watcher.events if event.kind == "request"]
    last = events[0].id
    assert last is not None
    with watching(live, last_event_id=last) as again:
        replayed = [event for event in again.events if event.kind != "snapshot"]
        kinds = [event.kind for event in again.events]
    assert [event for event in replayed if event.kind == "request"][: len(events) - 1] == events[1:]
    assert "lost" not in kinds
    assert kinds[len(replayed)] == "snapshot"
    with watching(live, last_event_id="another-5") as stranger:
        assert stranger.events[0].kind == "snapshot"


def test_a_failed_request_says_what_its_outcome_was(live: Live) -> None:
    with watching(live, "?kinds=request") as watcher:
        assert ask(live, "other", max_tokens=2, logit_bias={"99999": 1}).status_code == 400
        until(lambda: watcher.of("request")[-1:] and watcher.of("request")[-1]["phase"] == "failed", "it has failed")
    assert watcher.of("request")[-1]["outcome"] == "InvalidRequestError"


def test_events_are_an_operators(tmp_path: Path, llama_folder: Path) -> None:
    with live_server(
        write_config(tmp_path, {"general": llama_folder}, write_keys(tmp_path, alice="", ops="admin = true"))
    ) as keyed:
        assert httpx.get(f"{keyed.url}/admin/events").status_code == 401
        assert httpx.get(f"{keyed.url}/admin/events", headers=bearer("alice")).status_code == 403
        with watching(keyed, **bearer("ops")) as watcher:
            assert watcher.of("snapshot")


def test_the_stream_ends_with_the_server_and_has_comments_before(tmp_path: Path, llama_folder: Path) -> None:
    config = write_config(tmp_path, {"general": llama_folder})
    with live_server(config, keep_alive_s=0.05) as server, watching(server) as watcher:
        until(lambda: watcher.comments, "a comment has come")
        server.runtime.feed.hub.close()
        until(lambda: watcher.has_ended, "the stream has ended")
    assert watcher.events[-1].kind == "end"


@pytest.fixture(autouse=True)
def _nothing_pinned(live: Live) -> Iterator[None]:
    yield
    post(live, "/admin/experts/other/unpin", {})
