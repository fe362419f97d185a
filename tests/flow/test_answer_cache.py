"""The answer cache over HTTP: the same answer again, to the same key alone, without the engine and the expert."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from api_keys import bearer, write_keys
from compositions import write_config
from server_live import Live, live_server, post
from waits import until

from coe.types import Decision, RouteQuery
from server.openai.requests import COMPOSITION

ON = "[answer_cache]\nenabled = true\n"
PROMPT = [{"role": "user", "content": "What is the capital of France?"}]
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
GREEDY: dict[str, Any] = {"model": "other", "max_tokens": 6, "temperature": 0, "messages": PROMPT}


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory, llama_folder: Path, other_llama_folder: Path) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("cached")
    with live_server(write_config(folder, {"general": llama_folder, "other": other_llama_folder}, ON)) as server:
        yield server


@pytest.fixture(autouse=True)
def _empty(request: pytest.FixtureRequest) -> None:
    if "cached" in request.fixturenames:
        post(request.getfixturevalue("cached"), "/admin/answers/clear", {})


def kind_of(response: httpx.Response) -> str | None:
    assert response.status_code == 200, response.text
    told = response.json()["coe"].get("cached")
    header = response.headers.get("x-coe-cache")
    assert (told is None) == (header is None)
    return None if told is None else str(told["kind"])


def said(answer: dict[str, Any]) -> dict[str, Any]:
    """What an answer says, without its name, its time and what it cost."""
    usage = {name: count for name, count in answer["usage"].items() if name != "prompt_tokens_details"}
    return {"choices": answer["choices"], "usage": usage, "model": answer["model"]}


def chunks(server: Live, body: dict[str, Any], **headers: str) -> list[dict[str, Any]]:
    response = post(server, CHAT, {**body, "stream": True, "stream_options": {"include_usage": True}}, **headers)
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def status(server: Live, **headers: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{server.url}/admin/answers", headers=headers).json()
    return found


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, GREEDY),
        (CHAT, {**GREEDY, "logprobs": True, "top_logprobs": 3}),
        (CHAT, {**GREEDY, "n": 2, "repetition_penalty": 1.3, "logit_bias": {"5": 2.5}}),
        (CHAT, {**GREEDY, "model": COMPOSITION, "max_tokens": 40}),
        (TEXT, {"prompt": "One two", "max_tokens": 5, "temperature": 0, "logprobs": 2, "echo": True}),
        (TEXT, {"prompt": "One two", "max_tokens": 5, "temperature": 0, "echo": True}),
    ],
)
def test_the_same_request_has_the_same_answer_without_the_engine(cached: Live, path: str, body: dict[str, Any]) -> None:
    first = post(cached, path, body)
    computed = cached.runtime.metrics.snapshot().prompt_tokens
    again = post(cached, path, body)
    assert (kind_of(first), kind_of(again)) == (None, "exact")
    assert json.dumps(said(first.json())) == json.dumps(said(again.json()))
    usage = again.json()["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == usage["prompt_tokens"]
    assert again.headers["x-coe-cache"].startswith("hit; kind=exact; similarity=1.0000; age=")
    assert cached.runtime.metrics.snapshot().prompt_tokens == computed
    cached.runtime.answers.check_integrity()


def test_a_stream_and_a_whole_answer_are_answered_by_each_other(cached: Live) -> None:
    streamed = chunks(cached, GREEDY)
    whole = post(cached, CHAT, GREEDY)
    again = chunks(cached, GREEDY)
    assert kind_of(whole) == "exact"
    for stream in (streamed, again):
        text = "".join(choice["delta"].get("content") or "" for chunk in stream for choice in chunk["choices"])
        assert text == whole.json()["choices"][0]["message"]["content"]
        assert stream[-2]["choices"][0]["finish_reason"] == whole.json()["choices"][0]["finish_reason"]
        assert stream[-1]["usage"]["completion_tokens"] == whole.json()["usage"]["completion_tokens"]
    assert "cached" not in streamed[0]["coe"]
    assert again[0]["coe"]["cached"]["kind"] == "exact"
    assert again[-2]["coe"]["switch"]["loaded_bytes"] == 0


def test_another_request_is_asked_anew(cached: Live) -> None:
    post(cached, CHAT, GREEDY)
    for change in ({"max_tokens": 7}, {"stop": ["x"]}, {"n": 2}, {"logprobs": True}, {"model": "general"}):
        assert kind_of(post(cached, CHAT, {**GREEDY, **change})) is None
    sampled = {**GREEDY, "temperature": 0.7, "seed": 3}
    assert [kind_of(post(cached, CHAT, sampled)) for _ in range(2)] == [None, None]
    assert status(cached)["num_answers"] == 6


def test_a_hit_needs_no_expert_in_memory(cached: Live) -> None:
    post(cached, CHAT, GREEDY)
    assert post(cached, "/admin/experts/other/unload", {}).status_code == 200
    before = next(each for each in cached.runtime.operator.experts() if each.name == "other")
    answer = post(cached, CHAT, GREEDY)
    assert kind_of(answer) == "exact"
    assert answer.json()["coe"]["tier"] == "disk"
    after = next(each for each in cached.runtime.operator.experts() if each.name == "other")
    assert (after.num_loads, after.device_bytes, after.host_bytes) == (before.num_loads, before.device_bytes, 0)
    assert kind_of(post(cached, CHAT, {**GREEDY, "max_tokens": 3})) is None  # and it comes back when it is needed


def test_a_request_can_refuse_the_cache(cached: Live) -> None:
    no_store, no_cache = {"cache_control": "no-store"}, {"cache_control": "no-cache"}
    assert kind_of(post(cached, CHAT, GREEDY, **no_store)) is None
    assert kind_of(post(cached, CHAT, GREEDY, **no_cache)) is None  # nothing had been kept; this one is
    assert kind_of(post(cached, CHAT, GREEDY)) == "exact"
    assert kind_of(post(cached, CHAT, GREEDY, **no_cache)) is None
    assert kind_of(post(cached, CHAT, GREEDY, **no_store)) is None
    assert kind_of(post(cached, CHAT, GREEDY, cache_control="max-age=600")) == "exact"
    assert kind_of(post(cached, CHAT, GREEDY, cache_control="max-age=0")) is None


def test_an_answer_that_nobody_heard_to_its_end_is_not_kept(cached: Live) -> None:
    body = {**GREEDY, "max_tokens": 400, "ignore_eos": True, "stream": True}
    with httpx.stream("POST", f"{cached.url}{CHAT}", json=body) as response:
        next(response.iter_lines())
    until(lambda: not any(each.num_requests for each in cached.runtime.operator.experts()), "its request has ended")
    assert status(cached)["num_answers"] == 0


def test_metrics_and_the_operator_see_hits_misses_and_bytes(cached: Live) -> None:
    before = status(cached)
    for _ in range(3):
        post(cached, CHAT, GREEDY)
    after = status(cached)
    assert after["num_exact_hits"] - before["num_exact_hits"] == 2
    assert after["num_misses"] - before["num_misses"] == 1
    assert 0 < after["used_bytes"] <= after["budget_bytes"] == 64_000_000
    lines = httpx.get(f"{cached.url}/metrics").text.splitlines()
    assert f'coe_answer_cache_hits_total{{kind="exact"}} {float(after["num_exact_hits"])}' in lines
    assert f"coe_answer_cache_misses_total {float(after['num_misses'])}" in lines
    assert f"coe_answer_cache_bytes {float(after['used_bytes'])}" in lines
    assert post(cached, "/admin/answers/clear", {}).json() == {"ok": True, "num_cleared": 1}
    assert kind_of(post(cached, CHAT, GREEDY)) is None


def test_it_is_off_by_default(live: Live) -> None:
    assert [kind_of(post(live, CHAT, GREEDY)) for _ in range(2)] == [None, None]
    assert status(live)["is_enabled"] is False
    assert "coe_answer_cache" not in httpx.get(f"{live.url}/metrics").text


# -- whose answers


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory, llama_folder: Path) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("keyed")
    team = 'share_prefixes = "team"'
    limits = "tokens_per_minute = 60\nrequests_per_minute = 4"
    access = write_keys(folder, alice="", bob="", carol=team, dave=team, eve=limits, ops="admin = true")
    with live_server(write_config(folder, {"general": llama_folder}, f"{ON}{access}")) as server:
        yield server


def test_the_same_key_hits_and_another_one_misses(keyed: Live) -> None:
    body = {**GREEDY, "model": COMPOSITION}
    assert [kind_of(post(keyed, CHAT, body, **bearer("alice"))) for _ in range(2)] == [None, "exact"]
    stranger = post(keyed, CHAT, body, **bearer("bob"))
    assert kind_of(stranger) is None
    assert stranger.json()["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert stranger.json()["coe"]["switch"]["first_token_ms"] > 0
    assert kind_of(post(keyed, CHAT, body, **bearer("bob"))) == "exact"


def test_keys_that_share_prefixes_do_not_share_answers(keyed: Live) -> None:
    body = {**GREEDY, "model": COMPOSITION, "max_tokens": 5}
    assert [kind_of(post(keyed, CHAT, body, **bearer(key))) for key in ("carol", "dave", "carol")] == [
        None,
        None,
        "exact",
    ]


def test_a_hit_counts_as_a_request_and_costs_no_tokens(keyed: Live) -> None:
    body = {**GREEDY, "model": COMPOSITION, "max_tokens": 4}
    answers = [post(keyed, CHAT, body, **bearer("eve")) for _ in range(3)]
    assert [kind_of(answer) for answer in answers] == [None, "exact", "exact"]
    left = [int(answer.headers["x-ratelimit-remaining-requests"]) for answer in answers]
    assert left == sorted(left, reverse=True)
    assert left[0] > left[2]
    tokens = [int(answer.headers["x-ratelimit-remaining-tokens"]) for answer in answers]
    assert tokens[2] >= tokens[1]


def test_the_cache_is_an_operators_to_see_and_to_clear(keyed: Live) -> None:
    assert post(keyed, "/admin/answers/clear", {}, **bearer("alice")).status_code == 403
    assert httpx.get(f"{keyed.url}/admin/answers", headers=bearer("alice")).status_code == 403
    assert status(keyed, **bearer("ops"))["is_enabled"] is True


# -- prompts that are near


class TopicRouter:
    """Sorts every prompt into `math`, answered by `other`; prompts are near by the words that they share."""

    def route(self, queries: Sequence[RouteQuery]) -> list[Decision]:
        return [self._decide(query.messages[-1].content, query.expert) for query in queries]

    def _decide(self, text: str, expert: str | None) -> Decision:
        if expert is not None:
            return Decision(expert, None, None, "model", text)
        vector = np.zeros(64, np.float32)
        for word in text.casefold().split():
            vector[hash_of(word)] += 1
        part = (vector / np.linalg.norm(vector)).tobytes()
        return Decision("other", "math", 0.9, "category", text, vectors=(part, part, part))


def hash_of(word: str) -> int:
    return sum(map(ord, word)) % 64


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory, llama_folder: Path, other_llama_folder: Path) -> Iterator[Live]:
    more = f"{ON}[answer_cache.semantic]\nmath = 0.9\n"
    config = write_config(tmp_path_factory.mktemp("near"), {"general": llama_folder, "other": other_llama_folder}, more)
    with live_server(config, TopicRouter()) as server:
        yield server


def routed(server: Live, text: str, system: str = "", **fields: object) -> httpx.Response:
    turns = [{"role": "system", "content": system}] if system else []
    body = {"max_tokens": 6, "temperature": 0, "messages": [*turns, {"role": "user", "content": text}], **fields}
    return post(server, CHAT, body)


LONG = "tell me please how one adds up all the many numbers of a long list of figures"


def test_a_near_prompt_is_answered_and_told(near: Live) -> None:
    first = routed(near, LONG)
    computed = near.runtime.metrics.snapshot().prompt_tokens
    again = routed(near, f"{LONG} quickly")
    assert (kind_of(first), kind_of(again)) == (None, "semantic")
    assert again.json()["choices"] == first.json()["choices"]
    assert 0.9 <= again.json()["coe"]["cached"]["similarity"] < 1
    assert again.json()["usage"]["prompt_tokens"] > first.json()["usage"]["prompt_tokens"]  # of its own prompt
    assert near.runtime.metrics.snapshot().prompt_tokens == computed
    assert kind_of(routed(near, f"{LONG} now", model="other")) is None  # named: no category


def test_marks_that_differ_and_another_system_turn_are_asked_anew(near: Live) -> None:
    text = f"{LONG} from one to 12"
    assert kind_of(routed(near, text, "be short")) is None
    assert kind_of(routed(near, f"{LONG} from one to 13", "be short")) is None
    assert kind_of(routed(near, f"not {text}", "be short")) is None
    assert kind_of(routed(near, f"{text} please", "be long")) is None
    assert kind_of(routed(near, f"{text} please", "be short", max_tokens=5)) is None
    assert kind_of(routed(near, f"{text} please", "be short")) == "semantic"
