"""What one key leaves behind is invisible to others: the paired test of KV prefixes.

Conversations are told apart in tests/router/test_stickiness.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from api_keys import bearer, write_keys
from compositions import write_config
from server_live import Live, live_server, post

LONG = "Tell me about the long and winding road to the sea, please, and what one sees from there. " * 3


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory, llama_folder: Path) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("keyed")
    team = 'share_prefixes = "team"'
    access = write_keys(folder, alice="", bob="", carol=team, dave=team)
    with live_server(write_config(folder, {"general": llama_folder}, access)) as server:
        yield server


def cached_tokens(server: Live, key: str, prompt: str) -> int:
    body = {"prompt": prompt, "max_tokens": 1, "temperature": 0}
    usage = post(server, "/v1/completions", body, **bearer(key)).json()["usage"]
    count: int = usage["prompt_tokens_details"]["cached_tokens"]
    return count


def test_the_same_key_hits_its_prefix_and_another_key_misses(keyed: Live) -> None:
    prompt = f"alice: {LONG}"
    assert cached_tokens(keyed, "alice", prompt) == 0
    assert cached_tokens(keyed, "alice", prompt) > 16
    assert cached_tokens(keyed, "bob", prompt) == 0
    assert cached_tokens(keyed, "carol", prompt) == 0
    assert cached_tokens(keyed, "bob", prompt) > 16


def test_keys_of_a_group_hit_each_others_prefixes(keyed: Live) -> None:
    prompt = f"carol: {LONG}"
    assert cached_tokens(keyed, "carol", prompt) == 0
    assert cached_tokens(keyed, "dave", prompt) > 16
    assert cached_tokens(keyed, "alice", prompt) == 0
