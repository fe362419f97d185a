"""The `coe` object of a request, over HTTP: each wish has its effect, and an answer says little unless asked."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from compositions import write_config
from scripted import Scripted
from server_live import Live, live_server
from waits import until

STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@pytest.fixture(scope="module")
def live(
    tmp_path_factory: pytest.TempPathFactory, llama_folder: Path, other_llama_folder: Path, untied_llama_folder: Path
) -> Iterator[Live]:
    experts = {"general": llama_folder, "code": other_llama_folder, "sql": untied_llama_folder}
    config = write_config(tmp_path_factory.mktemp("wishes"), experts, "[scheduler]\ndeadline_s = 30")
    with live_server(config, Scripted(), keep_alive_s=30.0) as live:  # the headers wait for the first token
        yield live


def ask(live: Live, prompt: str = "code 0.6 sql 0.4", *, stream: bool = False, **coe: Any) -> httpx.Response:
    body = {"messages": [{"role": "user", "content": prompt}], "max_tokens": 2, "temperature": 0, "stream": stream}
    return httpx.post(f"{live.url}/v1/chat/completions", json={**body, "coe": coe}, timeout=60)


def coe_of(response: httpx.Response) -> dict[str, Any]:
    """The last `coe` object of an answer, whole or streamed."""
    assert response.status_code == 200, response.text
    if response.headers["content-type"] == "application/json":
        found: dict[str, Any] = response.json()["coe"]
        return found
    data = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: {")]
    return [json.loads(each)["coe"] for each in data if "coe" in json.loads(each)][-1]


def message_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["message"]


@STREAMS
def test_an_expert_is_named_excluded_or_preferred(live: Live, stream: bool) -> None:
    assert coe_of(ask(live, stream=stream))["expert"] == "code"
    for wish, expert in (({"expert": "sql"}, "sql"), ({"exclude": ["code"]}, "sql"), ({"prefer": ["sql"]}, "sql")):
        found = coe_of(ask(live, stream=stream, **wish))
        assert (found["expert"], found["why"]) == (expert, "model" if "expert" in wish else "wish")
    assert coe_of(ask(live, "code 0.9 sql 0.1", stream=stream, prefer=["sql"]))["expert"] == "code"


def test_a_route_is_wished_for_as_an_answer_is(live: Live) -> None:
    body = {"prompt": "code 0.6 sql 0.4", "coe": {"exclude": ["code"]}}
    assert httpx.post(f"{live.url}/v1/route", json=body).json()["expert"] == "sql"


@STREAMS
def test_an_answer_that_nobody_asked_to_explain_has_a_short_coe_object(live: Live, stream: bool) -> None:
    short, whole = coe_of(ask(live, stream=stream)), coe_of(ask(live, stream=stream, explain=True))
    assert len(json.dumps(short)) <= 300
    assert set(short) == {"expert", "category", "confidence", "why", "tier", "switch"}
    assert set(short["switch"]) == {
        "kind",
        "queue_ms",
        "evict_ms",
        "load_ms",
        "first_token_ms",
        "loaded_bytes",
        "evicted_bytes",
    }
    assert {"because", "probabilities", "alternatives", "nearest"} <= set(whole)
    assert {name: whole[name] for name in ("expert", "category", "confidence", "why")} == {
        name: short[name] for name in ("expert", "category", "confidence", "why")
    }


@STREAMS
def test_headers_say_what_the_switch_cost(live: Live, stream: bool) -> None:
    assert httpx.post(f"{live.url}/admin/experts/sql/unload").status_code == 200
    response = ask(live, stream=stream, expert="sql")
    told = response.headers["x-coe-switch"]
    switch = coe_of(response)["switch"]
    assert told == "; ".join(f"{name}={value}" for name, value in switch.items())
    assert (switch["kind"] == "device_hit") == (switch["loaded_bytes"] == 0)  # fetched ahead, where that was fast
    assert switch["queue_ms"] + switch["load_ms"] <= switch["first_token_ms"] + 0.2


def test_a_deadline_of_its_own_ends_a_request(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = live.runtime.engine
    monkeypatch.setattr(engine._scheduler._weights, "load_s", lambda _: 3.0)
    assert ask(live, expert="code", deadline_s=20).status_code == 200
    status, message = message_of(ask(live, expert="code", deadline_s=0.2))
    assert (status, "coe.deadline_s" in message) == (504, True)
    status, message = message_of(ask(live, expert="code", deadline_s=31))
    assert (status, "30 s" in message) == (400, True)


def test_a_keep_alive_of_its_own_unloads_the_expert_or_keeps_it(live: Live) -> None:
    status = live.runtime.engine.status
    assert ask(live, expert="sql", keep_alive_s=0).status_code == 200
    until(lambda: status.residency("sql").host_bytes <= status.residency("sql").shared_bytes, "sql is unloaded")
    assert ask(live, expert="sql", keep_alive_s=-1).status_code == 200
    until(lambda: status.residency("sql").host_bytes == status.residency("sql").size_bytes, "sql is here")
    engine = live.runtime.engine
    assert engine.call(lambda: engine._idle.expired(math.inf)).result() == ["sql"]
    assert engine.call(lambda: engine._idle.expired(1e300)).result() == []


def test_openais_client_sends_wishes_as_an_extra_body(live: Live) -> None:
    client = openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0)
    answer = client.chat.completions.create(
        model="coe",
        messages=[{"role": "user", "content": "code 0.6 sql 0.4"}],
        max_tokens=1,
        extra_body={"coe": {"exclude": ["code"]}},
    )
    assert answer.model == "sql"


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"expirt": "sql"}, "expert"),
        ({"priority": 1}, "priority is not supported yet"),
        ({"expert": "nobody"}, "nobody"),
        ({"exclude": ["nobody"]}, "nobody"),
        ({"exclude": ["code", "sql", "maths", "broken", "general"]}, "nobody to answer"),
        ({"expert": "code", "exclude": ["code"]}, "nobody to answer"),
        ({"deadline_s": 0}, "deadline_s"),
        ({"keep_alive_s": -2}, "keep_alive_s"),
        ({"explain": "perhaps"}, "explain"),
        ({"exclude": "code"}, "exclude"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused_by_name(live: Live, wish: dict[str, Any], said: str) -> None:
    status, message = message_of(ask(live, **wish))
    assert status in (400, 404)
    assert re.search(said, message)


def test_model_and_expert_may_not_differ(live: Live) -> None:
    body = {"model": "sql", "messages": [{"role": "user", "content": "x"}], "coe": {"expert": "code"}}
    status, message = message_of(httpx.post(f"{live.url}/v1/chat/completions", json=body))
    assert (status, "name one of them" in message) == (400, True)


def test_a_switch_says_what_was_evicted_for_it(tmp_path: Path, llama_folder: Path, other_llama_folder: Path) -> None:
    """Room for one expert at a time: what comes takes the place of the other one."""
    config = write_config(tmp_path, {"general": llama_folder, "code": other_llama_folder})
    config.write_text(config.read_text().replace("64MB", "1MB"))
    with live_server(config, Scripted(), keep_alive_s=30.0) as live:
        first, second, *later = (coe_of(ask(live, expert=name))["switch"] for name in ("general", "code") * 3)
    assert (first["evicted_bytes"], second["evicted_bytes"] > 0) == (0, True)
    for switch in (second, *later):  # what was fetched ahead cost the request nothing, nor did the room for it
        assert switch["kind"] == "device_hit" or switch["evicted_bytes"] > 0
        assert switch["evict_ms"] <= switch["first_token_ms"]
