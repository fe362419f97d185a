"""The HTTP face against a live server: OpenAI's shapes, the coe extras, errors, disconnects."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import httpx
import openai
import pytest
import torch
from compositions import write_config
from server_live import Live, live_server
from transformers import AutoModelForCausalLM, AutoTokenizer

from coe.errors import ConfigError
from server.serve import bind

PROMPT = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(scope="module")
def client(live: Live) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0)


def post(live: Live, path: str, body: object) -> httpx.Response:
    return httpx.post(f"{live.url}{path}", content=body if isinstance(body, bytes) else json.dumps(body), timeout=60)


def transformers_text(folder: Path, num_tokens: int) -> str:
    """What transformers' own greedy `generate` says to the prompt."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = tokenizer.apply_chat_template(PROMPT, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    out = model.generate(**ids, max_new_tokens=num_tokens, do_sample=False)
    return tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)


def test_openai_client_gets_transformers_text_from_two_experts(
    client: openai.OpenAI, llama_folder: Path, other_llama_folder: Path
) -> None:
    for model, folder in (("coe", llama_folder), ("other", other_llama_folder), ("general", llama_folder)):
        answer = client.chat.completions.create(model=model, messages=PROMPT, temperature=0, max_tokens=24)
        assert answer.choices[0].message.content == transformers_text(folder, 24)
        assert answer.model == ("other" if model == "other" else "general")
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_streamed_text_equals_whole_text(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="other", messages=PROMPT, temperature=0, max_tokens=24)
    stream = client.chat.completions.create(
        model="other",
        messages=PROMPT,
        temperature=0,
        max_tokens=24,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason == "length"


def test_decision_is_in_headers_and_first_chunk_and_switch_in_the_last(live: Live) -> None:
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
    assert "switch" not in first["coe"]
    assert last["coe"]["switch"]["kind"] in ("device_hit", "host_hit", "disk_miss")
    assert last["choices"][0]["finish_reason"] == "length"


def bytes_read(live: Live) -> float:
    """Bytes that have come from the disk since start, whoever asked for them."""
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


def test_mention_chooses_the_expert_and_is_stripped(live: Live) -> None:
    plain = post(live, "/v1/chat/completions", {"model": "other", "max_tokens": 2, "messages": PROMPT}).json()
    turn = {"role": "user", "content": f"@other {PROMPT[0]['content']}"}
    mentioned = post(live, "/v1/chat/completions", {"max_tokens": 2, "messages": [turn]}).json()
    assert mentioned["coe"]["expert"] == "other"
    assert mentioned["coe"]["why"] == "mention"
    assert mentioned["usage"]["prompt_tokens"] == plain["usage"]["prompt_tokens"]


def test_completions_continue_plain_text(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="general", prompt="The quick brown", max_tokens=5, temperature=0)
    stream = client.completions.create(
        model="general", prompt="The quick brown", max_tokens=5, temperature=0, stream=True
    )
    assert "".join(chunk.choices[0].text for chunk in stream) == answer.choices[0].text
    assert answer.object == "text_completion"


def test_stop_string_ends_the_text_before_it(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="other", messages=PROMPT, temperature=0, max_tokens=24)
    text = whole.choices[0].message.content or ""
    stop = text[3:6]
    cut = client.chat.completions.create(model="other", messages=PROMPT, temperature=0, max_tokens=24, stop=stop)
    assert cut.choices[0].message.content == text[: text.index(stop)]
    assert cut.choices[0].finish_reason == "stop"


def test_models_lists_the_composition_and_every_expert(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["coe", "general", "other"]
    assert client.models.retrieve("other").id == "other"


@pytest.mark.parametrize(
    ("body", "status", "param", "code"),
    [
        (b"{not json", 400, None, None),
        (b"[]", 400, None, None),
        ({"messages": []}, 400, "messages", None),
        ({}, 400, "messages", None),
        ({"messages": PROMPT, "temperature": 3}, 400, "temperature", None),
        ({"messages": PROMPT, "max_tokens": 0}, 400, "max_tokens", None),
        ({"messages": PROMPT, "n": 0}, 400, "n", None),
        ({"messages": PROMPT, "n": 129}, 400, "n", None),
        ({"messages": PROMPT, "top_logprobs": 3}, 400, "top_logprobs", None),
        ({"messages": PROMPT, "logprobs": True, "top_logprobs": 21}, 400, "top_logprobs", None),
        ({"messages": PROMPT, "logit_bias": {"5": 101}}, 400, "logit_bias", None),
        ({"messages": PROMPT, "logit_bias": {"word": 1}}, 400, "logit_bias", None),
        ({"messages": PROMPT, "logit_bias": {"99999": 1}}, 400, "logit_bias", None),
        ({"messages": PROMPT, "presence_penalty": 2.1}, 400, "presence_penalty", None),
        ({"messages": PROMPT, "frequency_penalty": -2.1}, 400, "frequency_penalty", None),
        ({"messages": PROMPT, "repetition_penalty": 0}, 400, "repetition_penalty", None),
        ({"messages": PROMPT, "min_p": 1.5}, 400, "min_p", None),
        ({"messages": PROMPT, "min_tokens": 9, "max_tokens": 8}, 400, "min_tokens", None),
        ({"messages": PROMPT, "tools": [{"type": "function"}]}, 400, "tools", None),
        ({"messages": [{"role": "robot", "content": "hi"}]}, 400, "messages", None),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "messages", None),
        ({"messages": PROMPT, "stop": ["a", "b", "c", "d", "e"]}, 400, "stop", None),
        ({"messages": PROMPT, "model": "nobody"}, 404, "model", "model_not_found"),
        (
            {"messages": [{"role": "user", "content": "word " * 2000}], "model": "other"},
            400,
            "messages",
            "context_length_exceeded",
        ),
    ],
)
def test_bad_request_is_refused_by_name(
    live: Live, body: object, status: int, param: str | None, code: str | None
) -> None:
    response = post(live, "/v1/chat/completions", body)
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (status, param, code)
    assert error["type"] == "invalid_request_error"
    assert error["message"]


def test_body_over_the_limit_is_refused(tmp_path: Path, llama_folder: Path) -> None:
    config = write_config(tmp_path, {"general": llama_folder}, "[server]\nmax_body_bytes = 1000")
    with live_server(config) as small:
        response = post(small, "/v1/chat/completions", {"messages": [{"role": "user", "content": "x" * 2000}]})
    assert response.status_code == 400
    assert "max_body_bytes" in response.json()["error"]["message"]


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


def own_units(live: Live, expert: str) -> set[str]:
    """Hashes of the units that only this expert uses."""
    served = live.runtime.experts.served
    others = {unit.hash for name, each in served.items() if name != expert for unit in each.loaded.manifest.units}
    return {unit.hash for unit in served[expert].loaded.manifest.units} - others


def test_error_after_the_headers_is_an_event(tmp_path: Path, llama_folder: Path, other_llama_folder: Path) -> None:
    config = write_config(tmp_path, {"general": llama_folder, "other": other_llama_folder})
    with live_server(config) as broken:
        for digest in own_units(broken, "other"):
            next((tmp_path / "store" / "units").rglob(digest)).write_bytes(b"")
        body = {"model": "other", "stream": True, "messages": PROMPT}
        text = post(broken, "/v1/chat/completions", body).text
    assert "event: error" in text
    assert "'other'" in text
    assert "[DONE]" not in text


def test_closed_connection_cancels_the_generation(live: Live) -> None:
    body = {"model": "other", "stream": True, "max_tokens": 400, "messages": PROMPT, "temperature": 0}
    with httpx.stream("POST", f"{live.url}/v1/chat/completions", json=body) as response:
        next(response.iter_lines())
    while any(expert["num_requests"] for expert in httpx.get(f"{live.url}/admin/experts").json()["experts"]):
        pass
    requests = live.runtime.metrics.snapshot().requests
    assert requests.get(("other", "cancelled"), 0) >= 1


def test_operator_pins_and_unpins(live: Live) -> None:
    assert post(live, "/admin/experts/other/pin", {}).json()["expert"]["is_pinned"]
    assert not post(live, "/admin/experts/other/unpin", {}).json()["expert"]["is_pinned"]
    assert post(live, "/admin/experts/nobody/pin", {}).status_code == 404
    assert post(live, "/admin/experts/other/shake", {}).status_code == 400


def test_metrics_count_what_happened(live: Live) -> None:
    post(live, "/v1/chat/completions", {"max_tokens": 2, "messages": PROMPT})
    text = httpx.get(f"{live.url}/metrics").text
    assert 'coe_requests_total{expert="general",outcome="ok"}' in text
    assert "coe_first_token_seconds_bucket" in text
    assert 'coe_resident_bytes{tier="device"}' in text


def test_route_explains_without_generating(live: Live) -> None:
    decision = post(live, "/v1/route", {"prompt": "hello"}).json()
    assert decision["expert"] == "general"
    assert post(live, "/v1/route", {}).status_code == 400


def test_taken_port_is_a_clear_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}.*--port"):
            bind("127.0.0.1", port)
