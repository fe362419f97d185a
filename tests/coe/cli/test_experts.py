"""`coe experts` shows a running server and commands it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from compositions import write_config
from console import coe
from server_live import Live, live_server

from coe import Client
from coe.client.answers import expert_status_from, store_status_from


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


def test_experts_says_what_people_should_know_of_a_template(
    tmp_path: Path, llama_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    template = tmp_path / "broken.jinja"
    template.write_text("{{ messages")
    table = f'[experts.broken]\nsource = "{llama_folder}"\nchat_template = "{template}"'
    with live_server(write_config(tmp_path, {"general": llama_folder}, table)) as live:
        shown = coe("experts", "--url", live.url).stdout
    for said in (shown, caplog.text):
        assert "its chat template fails on a single user turn" in said
    assert "broken: its chat template" in shown
    assert "general: " not in shown


def test_the_experts_and_the_store_are_json_on_demand(live: Live) -> None:
    shown = json.loads(coe("experts", "--json", "--url", live.url).stdout)
    with Client(live.url) as client:
        assert [expert_status_from(each).name for each in shown["experts"]] == ["general", "other"]
        assert store_status_from(shown["store"]) == client.store()
    (loaded,) = json.loads(coe("experts", "load", "other", "--json", "--url", live.url).stdout)["experts"]
    assert (loaded["name"], loaded["tier"]) == ("other", "device")
    for words in (("experts", "load", "othr"), ("experts", "unpin", "OTHRE")):
        assert "did you mean 'other'?" in coe(*words, "--url", live.url).stderr
