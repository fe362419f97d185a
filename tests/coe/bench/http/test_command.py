"""`coe bench http` serves a tiny expert, asks it from another process and records what that took."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coe.cli import main


def test_every_number_of_streams_and_the_step_rate_are_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--requests", "4", "--streams", "1", "2", "--tokens", "3", "--rounds", "1", "--out", str(tmp_path)]
    assert main(["bench", "http", *small]) == 0
    result = json.loads((tmp_path / "http.json").read_text())
    printed = capsys.readouterr().out
    assert json.loads(printed.splitlines()[-1]) == result
    assert [row["num_streams"] for row in result["overhead"]] == [1, 2]
    assert all(row["whole_p50_ms"] > 0 and row["whole_core_ms"] > 0 for row in result["overhead"])
    assert result["paced"]["times_late"] > 0
    assert result["step_rate"]["num_streams"] == 2
    assert result["step_rate"]["http_tokens_per_s"] > 0
    assert result["hardware"]["cpu"]
    assert "in process tokens/s" in printed
