"""`coe experts` shows a running server and commands it."""

from __future__ import annotations

import pytest
from console import coe
from server_live import Live


def test_experts_without_a_server_says_what_to_do() -> None:
    done = coe("experts", "--url", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "coe serve" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("word", ["general", "other"])
def test_experts_shows_tier_bytes_pins_and_last_use(live: Live, word: str) -> None:
    done = coe("experts", "--url", live.url)
    assert done.returncode == 0, done.stderr
    assert word in done.stdout
    for head in ("tier", "bytes", "pin", "last used", "breaker"):
        assert head in done.stdout.splitlines()[0]


def test_experts_can_be_loaded_pinned_and_freed_and_each_unit_is_shown(live: Live) -> None:
    loaded = coe("experts", "load", "other", "--url", live.url)
    assert loaded.returncode == 0, loaded.stderr
    assert "5 device" in loaded.stdout
    assert " yes " in coe("experts", "pin", "other", "--url", live.url).stdout
    assert " yes " not in coe("experts", "unpin", "other", "--url", live.url).stdout
    assert "5 disk" in coe("experts", "unload", "other", "--url", live.url).stdout
    assert "store: 0.00 GiB in" in coe("experts", "--url", live.url).stdout
    assert coe("experts", "load", "nobody", "--url", live.url).returncode == 1
