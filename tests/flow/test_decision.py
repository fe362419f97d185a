"""A decision's whole way: configuration, the shipped router, HTTP, client. Experts are tiny, the router is real."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from server_live import Live, live_server

from coe import Client
from coe.assembly.router import build_router
from coe.config.read import load_config
from coe.types import PassedOver

CODE = "Write a Python function that reverses a linked list."
SQL = "Write a SQL query for the geography database: what is the longest river in texas"
SCORES = {"code": {"code": 0.5, "sql": 0.49, "general": 0.1}, "sql": {"code": 0.1, "sql": 0.6, "general": 0.1}}


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory, llama_folder: Path, other_llama_folder: Path) -> Iterator[Live]:
    """`general`, `sql`, `code` and `maths`, which is broken; a mapping with expected scores; two rules."""
    folder = tmp_path_factory.mktemp("decision")
    (folder / "broken").mkdir()
    (folder / "broken" / "config.json").write_text("{}")
    mapping = {"mapping": {"code": "code", "sql": "sql"}, "expected_scores": SCORES}
    (folder / "mapping.json").write_text(json.dumps(mapping))
    (folder / "coe.toml").write_text(
        f"""
        [experts]
        general = "{llama_folder}"
        sql = "{other_llama_folder}"
        code = "{llama_folder}"
        maths = "broken"
        [cache]
        dir = "store"
        host_bytes = "64MB"
        [engine]
        device = "cpu"
        dtype = "float32"
        num_threads = 1
        [router]
        mapping = "mapping.json"
        score_per_second = 10000
        [[router.rules]]
        keyword = "bit about it"
        expert = "maths"
        [[router.rules]]
        has_tools = true
        category = "sql"
        """
    )
    config = load_config(folder / "coe.toml")
    with live_server(config.file, build_router(config.router, config.names)) as live:
        yield live


def only_resident(live: Live, *names: str) -> None:
    for name in ("general", "sql", "code"):
        command = "load" if name in names else "unload"
        assert httpx.post(f"{live.url}/admin/experts/{name}/{command}").status_code == 200


def test_a_gain_below_the_price_of_a_load_is_left_out_and_the_cost_term_says_so(composed: Live) -> None:
    with Client(composed.url) as client:
        only_resident(composed, "sql")
        preferred = client.chat(CODE, max_tokens=2, coe={"explain": True})
        only_resident(composed)
        mapped = client.route(CODE)
    assert (preferred.expert, preferred.why, preferred.category) == ("sql", "cost", "code")
    cost = preferred.decision.cost
    assert cost is not None
    assert (cost.mapped, cost.chosen, cost.chosen_load_s, cost.score_per_second) == ("code", "sql", 0, 10000)
    assert cost.mapped_score > cost.chosen_score > cost.mapped_score - 10000 * cost.mapped_load_s
    assert preferred.decision.instead_of == "code"
    assert (mapped.expert, mapped.why) == ("code", "category")
    assert mapped.cost is not None
    assert mapped.cost.chosen == "code"


def test_probabilities_neighbours_and_our_own_texts_reach_the_client(composed: Live) -> None:
    with Client(composed.url) as client:
        route = client.route("Fix this bug in my Python code, please: it crashes on an empty list.")
        answer = client.chat(CODE, max_tokens=2, coe={"explain": True})
    assert abs(sum(route.probabilities.values()) - 1) < 0.01
    assert list(route.probabilities.values()) == sorted(route.probabilities.values(), reverse=True)
    assert 0.5 < (route.confidence or 0) <= 1
    cosines = [near.cosine for near in route.nearest]
    assert len(cosines) == 5
    assert cosines == sorted(cosines, reverse=True)
    for near in route.nearest:
        assert near.id
        assert near.license
        assert (near.text is not None) is (near.source == "coe own")
    assert answer.decision.nearest
    assert all(near.text is None for near in answer.decision.nearest)


def test_a_rule_decides_and_a_broken_expert_behind_it_is_said(composed: Live) -> None:
    with Client(composed.url) as client:
        answer = client.chat("Tell me a Bit About  IT", max_tokens=2, coe={"explain": True})
        assert (answer.expert, answer.why, answer.decision.rule) == ("general", "rule", 1)
        assert answer.decision.passed_over == (PassedOver("maths", "refused"),)
        assert answer.decision.because.startswith(
            "rule 1: keyword 'bit about  it'; maths is passed over (refused), general"
        )
        assert answer.decision.because.endswith(", general answers")
        routed = client.route("What is 12 * 7 + 3? Show your steps in the calculation.")
    named = httpx.post(
        f"{composed.url}/v1/chat/completions",
        json={"model": "maths", "messages": [{"role": "user", "content": "x"}], "max_tokens": 2},
    )
    assert named.status_code == 503
    assert routed.expert != "maths"
    tools = {"prompt": "what is there", "tools": [{"type": "function", "function": {"name": "f"}}]}
    by_tools = httpx.post(f"{composed.url}/v1/route", json=tools).json()
    assert (by_tools["category"], by_tools["why"], by_tools["rule"]) == ("sql", "rule", 2)


def test_a_follow_up_stays_by_its_messages_or_by_the_header(composed: Live) -> None:
    messages = [
        {"role": "user", "content": SQL},
        {"role": "assistant", "content": "SELECT name FROM river"},
        {"role": "user", "content": "shorter please"},
    ]
    only_resident(composed, "sql")
    with Client(composed.url) as client:
        followed = client.chat(messages, max_tokens=2)
        client.chat("@sql hello", conversation="c-1", max_tokens=2)
        client.route("@code hello", conversation="c-1")  # only asks
        named = client.chat("shorter please", conversation="c-1", max_tokens=2)
        streamed = client.stream("shorter please", conversation="c-1", max_tokens=2)
        assert list(streamed)
        alone = client.route("shorter please")
        moved = client.route([*messages[:2], {"role": "user", "content": CODE}])
    for decision in (followed.decision, named.decision, streamed.answer.decision):
        assert (decision.expert, decision.why) == ("sql", "conversation")
    assert alone.expert == "general"
    assert moved.category == "code"
    assert moved.why in ("category", "cost")


def test_the_word_is_in_the_headers_and_the_sentence_in_the_body(composed: Live) -> None:
    body = {"messages": [{"role": "user", "content": "@sql hello"}], "max_tokens": 2, "coe": {"explain": True}}
    answer = httpx.post(f"{composed.url}/v1/chat/completions", json=body)
    assert (answer.headers["x-coe-expert"], answer.headers["x-coe-why"]) == ("sql", "mention")
    assert answer.json()["coe"]["because"] == "the prompt begins with @sql"
    empty = httpx.post(f"{composed.url}/v1/route", json={"prompt": ""}, headers={"x-coe-conversation": ""})
    assert empty.json()["why"] == "general"


@pytest.mark.parametrize(
    "text",
    ["", " \n", "x" * 100_000, "\x00\x01\x7f\ufffe" * 50, "🙂" * 5000],
    ids=["empty", "blank", "100k", "binary", "emoji"],
)
def test_junk_gets_a_decision_with_a_reason(composed: Live, text: str) -> None:
    with Client(composed.url) as client:
        for prompt in (text, [*({"role": role, "content": text} for role in ("user", "assistant", "user"))]):
            assert client.route(prompt).because
