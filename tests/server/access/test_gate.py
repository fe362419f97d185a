"""The gate over HTTP: keys, pages, limits, ids, and what every refusal looks like."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from api_keys import bearer, secret_of, write_keys
from compositions import write_config
from raw_http import connected, raw_request
from server_live import Live, live_server, post

from coe import Client
from coe.errors import AuthenticationError, PermissionDeniedError, RateLimitError

CHAT = "/v1/chat/completions"
HELLO = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}
JSON = "application/json"


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory, llama_folder: Path) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("keyed")
    access = write_keys(
        folder,
        alice="",
        ops="admin = true",
        few="requests_per_minute = 2",
        short="tokens_per_minute = 20",
        narrow="max_concurrent = 1",
    )
    access += 'allowed_origins = ["https://chat.example"]'
    with live_server(write_config(folder, {"general": llama_folder}, access)) as server:
        yield server


def error_of(response: httpx.Response) -> dict[str, str]:
    error: dict[str, str] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert response.headers["x-request-id"]
    return error


def test_a_key_opens_what_it_may(keyed: Live) -> None:
    assert post(keyed, CHAT, HELLO, **bearer("alice")).status_code == 200
    assert post(keyed, CHAT, HELLO, x_api_key=secret_of("alice")).status_code == 200
    assert httpx.get(f"{keyed.url}/admin/experts", headers=bearer("ops")).status_code == 200
    client = openai.OpenAI(base_url=f"{keyed.url}/v1", api_key=secret_of("alice"), max_retries=0)
    assert client.chat.completions.create(model="coe", **HELLO).model == "general"


def test_without_one_the_answer_says_what_is_missing(keyed: Live) -> None:
    for response in (
        post(keyed, CHAT, HELLO),
        post(keyed, CHAT, b"{", **bearer("nobody")),
        post(keyed, "/nowhere", {}),
    ):
        assert (response.status_code, error_of(response)["code"]) == (401, "invalid_api_key")
        assert response.headers["www-authenticate"] == "Bearer"
    refused = httpx.get(f"{keyed.url}/metrics", headers=bearer("alice"))
    assert (refused.status_code, error_of(refused)["code"]) == (403, "permission_denied")


def test_strangers_see_that_it_runs_and_no_more(keyed: Live) -> None:
    assert httpx.get(f"{keyed.url}/health").status_code == 200
    assert httpx.get(keyed.url).headers["content-type"].startswith("text/html")
    assert httpx.get(f"{keyed.url}/ready").json() == {"ready": True}
    assert httpx.get(f"{keyed.url}/ready", headers=bearer("alice")).json() == {"ready": True, "status": "ready"}


def test_the_client_sends_its_key_and_raises_what_the_server_raised(
    keyed: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COE_API_KEY", secret_of("alice"))
    with Client(keyed.url) as client:
        assert client.chat("hello", max_tokens=2).expert == "general"
        with pytest.raises(PermissionDeniedError):
            client.experts()
    with Client(keyed.url, api_key=secret_of("ops")) as client:
        assert [expert.name for expert in client.experts()] == ["general"]
    with Client(keyed.url, api_key="") as client, pytest.raises(AuthenticationError):
        client.chat("hello")


@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/route", "/admin/experts/general/load", "/v1/nowhere"])
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1"])
def test_a_foreign_page_is_refused(live: Live, path: str, origin: str) -> None:
    response = post(live, path, HELLO, origin=origin, content_type=JSON)
    assert (response.status_code, error_of(response)["code"]) == (403, "permission_denied")
    assert "access-control-allow-origin" not in response.headers


def test_the_servers_own_page_is_let_in_with_json(live: Live) -> None:
    assert post(live, CHAT, HELLO, origin=live.url, content_type=JSON).status_code == 200
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        assert post(live, CHAT, HELLO, origin=live.url, content_type=kind).status_code == 415
    assert post(live, "/admin/experts/other/load", b"", origin=live.url).status_code == 415


@pytest.mark.parametrize("path", ["/", "/health", "/admin/experts", "/v1/models", "/metrics"])
def test_a_foreign_host_is_refused(live: Live, path: str) -> None:
    assert httpx.get(f"{live.url}{path}", headers={"host": "evil.example"}).status_code == 403


def test_no_page_may_frame_ours_or_guess_a_type(live: Live) -> None:
    for path in ("/", "/health", "/nowhere"):
        headers = httpx.get(f"{live.url}{path}").headers
        assert headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_browsers_are_told_what_the_configuration_allows(keyed: Live) -> None:
    asking = {"origin": "https://chat.example", "access-control-request-method": "POST"}
    asked = httpx.options(f"{keyed.url}{CHAT}", headers={**asking, "access-control-request-headers": "authorization"})
    assert asked.status_code == 204
    assert asked.headers["access-control-allow-origin"] == "https://chat.example"
    assert asked.headers["access-control-allow-headers"] == "authorization"
    assert "Origin" in asked.headers["vary"]
    foreign = httpx.options(f"{keyed.url}{CHAT}", headers={**asking, "origin": "http://evil.example"})
    assert foreign.status_code == 403
    for key, status in (("alice", 200), ("nobody", 401)):
        response = post(keyed, CHAT, HELLO, origin="https://chat.example", content_type=JSON, **bearer(key))
        assert (response.status_code, response.headers["access-control-allow-origin"]) == (
            status,
            "https://chat.example",
        )
        assert "x-request-id" in response.headers["access-control-expose-headers"]


def test_a_key_that_has_used_up_its_requests_is_told_when_to_come_again(keyed: Live) -> None:
    first = post(keyed, CHAT, HELLO, **bearer("few"))
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    post(keyed, CHAT, HELLO, **bearer("few"))
    third = post(keyed, CHAT, HELLO, **bearer("few"))
    assert (third.status_code, error_of(third)["code"]) == (429, "rate_limit_exceeded")
    assert 1 <= int(third.headers["retry-after"]) <= 30
    assert third.headers["x-ratelimit-remaining-requests"] == "0"
    assert re.fullmatch(r"(\d+m)?\d+s", third.headers["x-ratelimit-reset-requests"])
    assert httpx.get(f"{keyed.url}/v1/models", headers=bearer("few")).status_code == 200
    assert post(keyed, CHAT, HELLO, **bearer("alice")).status_code == 200
    with Client(keyed.url, api_key=secret_of("few"), max_retries=0) as client, pytest.raises(RateLimitError):
        client.chat("hello")


@pytest.mark.parametrize("streams", [False, True])
def test_tokens_are_counted_whole_and_streamed(keyed: Live, streams: bool) -> None:
    post(keyed, CHAT, {**HELLO, "max_tokens": 30, "stream": streams}, **bearer("short"))
    refused = post(keyed, CHAT, HELLO, **bearer("short"))
    assert refused.status_code == 429
    assert "20 tokens a minute" in error_of(refused)["message"]


def test_requests_at_the_same_time_are_counted_until_they_end(keyed: Live) -> None:
    running = raw_request("POST", CHAT, bearer("narrow") | {"content-length": "9", "expect": "100-continue"})
    with connected(keyed.url) as client:
        client.sendall(running)
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")  # it is let in, and its body is waited for
        refused = post(keyed, CHAT, HELLO, **bearer("narrow"))
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    while (response := post(keyed, CHAT, HELLO, **bearer("narrow"))).status_code == 429:  # until the abort has arrived
        pass
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("own_id", "is_kept"),
    [("abc-1.2:3_4", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ("", False), ("a\tb", False)],
)
def test_every_answer_has_an_id_the_clients_own_if_it_is_sane(live: Live, own_id: str, is_kept: bool) -> None:
    for response in (
        post(live, CHAT, HELLO, x_request_id=own_id),
        post(live, CHAT, {**HELLO, "stream": True}, x_request_id=own_id),
        post(live, CHAT, b"{", x_request_id=own_id),
        post(live, "/nowhere", {}, x_request_id=own_id),
        httpx.get(f"{live.url}/health", headers={"x-request-id": own_id}),
    ):
        found = response.headers["x-request-id"]
        assert (found == own_id) == is_kept
        assert found


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nowhere", 404, "unknown_url"),
        ("POST", "/health/", 404, "unknown_url"),
        ("GET", CHAT, 405, "unknown_method"),
        ("PATCH", "/admin/experts", 405, "unknown_method"),
        ("BREW", "/health", 405, "unknown_method"),
    ],
)
def test_urls_and_methods_that_are_not_there(live: Live, method: str, path: str, status: int, code: str) -> None:
    response = httpx.request(method, f"{live.url}{path}")
    assert (response.status_code, error_of(response)["code"]) == (status, code)
    assert ("allow" in response.headers) == (status == 405)


def test_a_failed_request_is_one_line_without_prompt_or_key(keyed: Live, caplog: pytest.LogCaptureFixture) -> None:
    prompt = "the sealed prompt"
    with caplog.at_level(logging.DEBUG):
        wrong = {**HELLO, "messages": [{"role": "user", "content": prompt}], "temperature": prompt, "model": prompt}
        post(keyed, CHAT, wrong, x_request_id="my-1", **bearer("alice"))
        post(keyed, CHAT, {**wrong, "temperature": 0}, x_request_id="my-2", **bearer("alice"))
        post(keyed, CHAT, {prompt: prompt}, x_request_id="my-3", **bearer("alice"))
        post(keyed, CHAT, wrong, x_request_id="my-4", **bearer("sealed"))
        post(keyed, CHAT, HELLO, x_request_id="my-5", **bearer("alice"))
    said = [record.getMessage() for record in caplog.records if record.name == "coe.server"]
    lines = [line for line in said if "id=my-" in line]  # another test's server may say its last word late
    assert lines == [
        f"failed id=my-1 status=400 code=None key=alice POST '{CHAT}'",
        f"failed id=my-2 status=404 code=model_not_found key=alice POST '{CHAT}'",
        f"failed id=my-3 status=400 code=None key=alice POST '{CHAT}'",
        f"failed id=my-4 status=401 code=invalid_api_key POST '{CHAT}'",
    ]
    assert "sealed" not in caplog.text
    assert "the-secret-of" not in caplog.text
