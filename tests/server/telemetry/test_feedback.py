"""Decisions are downloaded and judged over HTTP: only one's own, without prompts unless allowed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from api_keys import bearer, write_keys
from compositions import write_config
from server_live import Live, live_server, post

BODY = {"messages": [{"role": "user", "content": "a secret word"}], "max_tokens": 1}


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory, llama_folder: Path, other_llama_folder: Path) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("keyed")
    keys = write_keys(folder, alice="", bob="", ops="admin = true")
    more = f'{keys}\n[telemetry]\nfeedback_file = "feedback.jsonl"\nnum_decisions = 5'
    experts = {"general": llama_folder, "other": other_llama_folder}
    with live_server(
        write_config(folder, experts, more), category_experts={"law": "other", "a": "general", "b": "general"}
    ) as live:
        live.folder = folder  # type: ignore[attr-defined]
        yield live


def judged(live: Live, who: str, **fields: object) -> httpx.Response:
    return post(live, "/v1/feedback", fields, **bearer(who))


def rows(live: Live) -> list[dict[str, object]]:
    file: Path = live.folder / "feedback.jsonl"  # type: ignore[attr-defined]
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_one_judges_ones_own_requests_by_either_name(keyed: Live) -> None:
    answer = post(keyed, "/v1/chat/completions", BODY, x_request_id="mine", **bearer("alice"))
    bare = answer.json()["id"].removeprefix("chatcmpl-")
    for name in (answer.json()["id"], bare, "mine"):
        kept = judged(keyed, "alice", request_id=name, is_right=False, expert="OTHER", comment="it is law")
        assert kept.json() == {"ok": True, "id": bare, "category": "law"}
    for who, name in (("bob", bare), ("bob", "mine"), ("ops", bare), ("alice", "another")):
        refused = judged(keyed, who, request_id=name, is_right=True)
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "request_not_found")
    assert [(row["id"], row["right"], row["category"], row["expert"]) for row in rows(keyed)] == [
        (bare, False, "law", "other")
    ] * 3


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"is_right": True}, "request_id"),
        ({"request_id": "x"}, "is_right"),
        ({"request_id": "x", "is_right": "yes"}, "is_right"),
        ({"request_id": "x", "is_right": True, "rating": 5}, "unknown field 'rating'"),
        ({"request_id": "x", "is_right": True, "comment": "c" * 2001}, "comment"),
        ({"request_id": "judge", "is_right": False, "expert": "nobody"}, "there is no expert 'nobody'"),
        (
            {"request_id": "judge", "is_right": False, "expert": "general"},
            "2 categories (a, b) lead to expert 'general'",
        ),
    ],
)
def test_what_is_wrong_is_named_and_not_kept(keyed: Live, fields: dict[str, object], said: str) -> None:
    post(keyed, "/v1/chat/completions", BODY, x_request_id="judge", **bearer("alice"))
    before = rows(keyed)
    refused = judged(keyed, "alice", **fields)
    assert refused.status_code in (400, 404)
    assert said in refused.json()["error"]["message"]
    assert rows(keyed) == before


def test_the_last_decisions_are_an_operators_and_have_no_prompt(keyed: Live) -> None:
    for at in range(7):
        post(keyed, "/v1/chat/completions", BODY, x_request_id=f"r{at}", **bearer("bob"))
    assert httpx.get(f"{keyed.url}/admin/decisions", headers=bearer("bob")).status_code == 403
    answer = httpx.get(f"{keyed.url}/admin/decisions", headers=bearer("ops"))
    assert answer.json()["num_kept"] == 5
    assert [row["request_id"] for row in answer.json()["decisions"]] == ["r2", "r3", "r4", "r5", "r6"]
    assert answer.json()["decisions"][0]["key"] == "bob"
    assert "secret" not in answer.text
    two = httpx.get(f"{keyed.url}/admin/decisions?limit=2&format=jsonl", headers=bearer("ops"))
    assert [json.loads(line)["request_id"] for line in two.text.splitlines()] == ["r5", "r6"]
    for query in ("limit=-1", "limit=x", "format=csv"):
        assert httpx.get(f"{keyed.url}/admin/decisions?{query}", headers=bearer("ops")).status_code == 400


def test_without_a_file_feedback_is_refused_by_the_keys_name(live: Live) -> None:
    refused = post(live, "/v1/feedback", {"request_id": "x", "is_right": True})
    assert refused.status_code == 400
    assert "[telemetry] feedback_file" in refused.json()["error"]["message"]
