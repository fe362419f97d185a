"""`coe bench route` times the router and, with labelled prompts, says how well it sorts them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coe.cli import main


def test_the_command_times_the_shipped_router(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "route", "--tokens", "8", "--calls", "2"]) == 0
    (latency,) = json.loads(capsys.readouterr().out.splitlines()[-1])["latency"]
    assert (latency["encoder"], latency["num_tokens"], latency["num_calls"]) == ("multilingual-e5-small", 8, 2)


def test_labelled_prompts_add_how_well_they_are_sorted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("Solve 3x + 4 = 19 for x.", "math"), ("SELECT all orders above 100 euros", "sql"), ("what is 2+2", "sql")]
    lines = [json.dumps({"prompt": prompt, "category": category}) for prompt, category in rows]
    (tmp_path / "p.jsonl").write_text("\n".join(lines))
    assert main(["bench", "route", "--tokens", "8", "--calls", "2", "--prompts", str(tmp_path / "p.jsonl")]) == 0
    (quality,) = json.loads(capsys.readouterr().out.splitlines()[-1])["quality"]
    assert quality["held_out"]["num_prompts"] == 3
    assert quality["held_out"]["accuracy"] == pytest.approx(2 / 3)


def test_a_router_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "route", "--artefact", str(tmp_path)]) == 2
    assert "no router.json there" in capsys.readouterr().err
