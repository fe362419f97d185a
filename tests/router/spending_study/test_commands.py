"""The commands `switching` and `difficulty` on a user's own file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from router_fakes import FakeEncoder
from score_tables import write_score_table

from router.spending_study import difficulty_command, splits, switching_command


def told(command: ModuleType, capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.run(parser.parse_args(argv)) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(splits, "load_encoder", lambda *_: FakeEncoder())
    return str(write_score_table(tmp_path / "s.jsonl"))


def test_switching_says_what_each_price_costs_and_saves(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(switching_command, capsys, table, "--splits", "2", "--memory-bytes", "15e9", "--prices", "0.001", "9")
    methods = found["methods"]
    assert methods["mapped expert always"]["score"] > 0.65
    assert methods["mapped expert always"]["loads_per_1000"] > 300
    assert methods["score_per_second 9"]["loads_per_1000"] < 150  # the first load
    assert methods["score_per_second 0.001"] == methods["mapped expert always"]
    assert found["differences"]["score_per_second 9 - mapped expert always"]["difference"] < 0
    assert found["setting"]["memory_bytes"] == 15e9


def test_switching_refuses_a_memory_that_holds_no_expert(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match=r"memory of 1e\+09 bytes: 'x-7b' takes 1\.4e\+10"):
        told(switching_command, capsys, table, "--splits", "1", "--memory-bytes", "1e9")


def test_difficulty_reports_ranks_a_frontier_and_paired_differences(
    table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(difficulty_command, capsys, table, "--splits", "2", "--budgets", "1")
    assert set(found["frontier"]) == {
        f"{name}, {limit}" for name in ("category probabilities", "with difficulty") for limit in ("3.74 B", "no limit")
    }
    assert found["frontier"]["category probabilities, 3.74 B"]["mean_active_b"] <= 3.75
    assert set(found["differences"]) == {
        f"with difficulty, {limit} - category probabilities, {limit}" for limit in ("3.74 B", "no limit")
    }
    assert len(found["penalties"]) == 2
