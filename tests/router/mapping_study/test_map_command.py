"""The command `map` on a user's own files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from router_fakes import FakeEncoder, fake_artefact
from score_tables import run_command, score_row, write_score_table

from router.mapping_study import map_command


def test_a_mapping_is_learned_from_a_users_own_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_score_table(tmp_path / "s.jsonl")
    assert run_command("map", str(path), "--json", str(tmp_path / "map.json")) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told == json.loads((tmp_path / "map.json").read_text())
    assert told["mapping"] == {"math": "x-7b", "sql": "y-2b"}
    cell = told["expected_scores"]["math"]["x-7b"]
    assert (cell["score"], cell["num_prompts"]) == (1, 20)
    assert cell["low"] < 1 == cell["high"]


def test_a_map_counts_categories_as_the_router_sees_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table calls its prompts what it likes: the router's labels and frequencies are what is learned from."""
    monkeypatch.setattr(map_command, "load_encoder", lambda *_: FakeEncoder())
    fake_artefact().save(tmp_path / "router")
    rows = [score_row(f"{word} {i}", "mine") for i, word in enumerate(["sum"] * 3 + ["select"])]
    path = tmp_path / "s.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    run_command("map", str(path), "--artefact", str(tmp_path / "router"))
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["frequencies"] == {"math": 0.75, "sql": 0.25}
    assert "abstain" in " ".join(told["notes"])


def test_training_rows_are_labelled_out_of_fold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(map_command, "load_encoder", lambda *_: FakeEncoder())
    fake_artefact().save(tmp_path / "router")
    path = write_score_table(tmp_path / "s.jsonl")
    assert run_command("map", str(path), "--artefact", str(tmp_path / "router"), "--train", str(path)) == 0
    notes = json.loads(capsys.readouterr().out.splitlines()[-1])["notes"]
    assert "labels: 40 of 40 prompts are training prompts or near one, labelled out of fold" in notes
    with pytest.raises(ValueError, match="name the router with --artefact, too"):
        run_command("map", str(path), "--train", str(path))


def test_bad_rows_are_counted_in_the_notes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_score_table(tmp_path / "s.jsonl")
    with path.open("a") as stream:
        stream.write("\n{broken\n")
    run_command("map", str(path))
    assert "1 bad rows left out" in json.loads(capsys.readouterr().out.splitlines()[-1])["notes"]


def test_experts_can_be_named_or_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_score_table(tmp_path / "s.jsonl")
    for argv in (("--without", "x-7b"), ("--expert", "y-2b"), ("--max-model-b", "3")):
        run_command("map", str(path), *argv)
        assert set(json.loads(capsys.readouterr().out.splitlines()[-1])["mapping"].values()) == {"y-2b"}
    with pytest.raises(ValueError, match="expert 'z': the table has no scores of it"):
        run_command("map", str(path), "--without", "z")


def test_a_table_of_experts_without_a_size_asks_for_costs(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text(json.dumps({"prompt": "p", "category": "c", "scores": {"phi": 1}}))
    with pytest.raises(ValueError, match="no expert of a known size"):
        run_command("map", str(path))
