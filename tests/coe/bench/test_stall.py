"""`coe bench stall` watches a running server while large bodies arrive."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from server_live import Live

from coe.bench.stall import BODIES
from coe.cli import main


def test_every_body_is_sent_and_the_longest_waits_are_recorded(
    live: Live, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "stall", "--url", live.url, "--bytes", "20000", "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "stall.json").read_text())
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == result
    assert [row["body"] for row in result["bodies"]] == ["nothing", *BODIES]
    assert all(400 <= row["status"] < 500 for row in result["bodies"][1:] if row["body"] != "a long tool")
    for row in result["bodies"]:
        assert row["longest_stream_gap_s"] > 0
        assert row["longest_health_wait_s"] > 0
    assert result["hardware"]["cpu"]


@pytest.mark.parametrize("name", BODIES)
def test_bodies_have_about_the_bytes_that_were_asked_for(name: str) -> None:
    assert 0.6 < len(BODIES[name]("general", 1_000_000)) / 1_000_000 <= 1


def test_no_server_is_said_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "stall", "--url", "http://127.0.0.1:9"]) == 2
    assert "--url" in capsys.readouterr().err
