"""The command `frontier` on a user's own files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from router_fakes import FakeEncoder
from score_tables import WORDS, run_command, score_row, write_score_table

from router.mapping_study import frontier_command


def test_the_frontier_and_a_study_run_on_a_users_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(frontier_command, "load_encoder", lambda *_: FakeEncoder())
    path = write_score_table(tmp_path / "s.jsonl")
    plot = tmp_path / "frontier.png"
    assert run_command("frontier", str(path), "--study", "2", "--curve", "3", "--plot", str(plot)) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["points"][-1]["mapping"] == {"math": "x-7b", "sql": "y-2b"}
    methods = told["study"]["methods"]
    assert methods["category oracle"]["score"] == pytest.approx(methods["prompt oracle"]["score"])
    assert told["seeds"] == [0, 1]
    assert told["provenance"] == {"num_cpus": 2}
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_study_of_a_table_without_a_complete_row_says_so(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text("\n".join(map(json.dumps, [score_row("p", "c", x=None), score_row("q", "c", y=None)])))
    with pytest.raises(ValueError, match="no prompt has scores of every expert"):
        run_command("frontier", str(path), "--study")


def test_small_categories_are_left_out_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(frontier_command, "load_encoder", lambda *_: FakeEncoder())
    path = write_score_table(tmp_path / "s.jsonl")
    with path.open("a") as stream:
        stream.write("\n" + json.dumps(score_row("a rare thing", "law")))
    assert run_command("frontier", str(path), "--study", "1", "--skip-small") == 0
    printed = capsys.readouterr().out
    assert "left out, too few distinct prompts: 1 prompts of 1 categories (law 1)" in printed
    assert json.loads(printed.splitlines()[-1])["study"]["num_prompts"] == 40


def test_a_study_of_too_few_prompts_names_the_category(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frontier_command, "load_encoder", lambda *_: FakeEncoder())
    path = tmp_path / "s.jsonl"
    rows = [score_row(f"{word} {i}", "m") for i, word in enumerate(WORDS * 2)] + [score_row("select", "s")]
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(ValueError, match=r"category 'm' has 5 distinct"):
        run_command("frontier", str(path), "--study")
