"""The command `judge` on a user's own files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
from router_fakes import FakeEncoder, fake_artefact
from score_tables import run_command, score_row, write_score_table

from router.mapping_study.judging import judge_command


@pytest.fixture
def mapping(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The mapping that `map` learns: math to x-7b, sql to y-2b."""
    monkeypatch.setattr(judge_command, "load_encoder", lambda *_: FakeEncoder())
    run_command("map", str(write_score_table(tmp_path / "s.jsonl")), "--json", str(tmp_path / "map.json"))
    capsys.readouterr()
    return tmp_path / "map.json"


def judged(mapping: Path, table: Path, *argv: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    judge_command.add_arguments(parser)
    out = mapping.parent / "judged.json"
    assert judge_command.run(parser.parse_args([str(mapping), str(table), "--json", str(out), *argv])) == 0
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def write_rows(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_a_mapping_is_judged_by_the_tables_own_categories(
    mapping: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [score_row(f"q {word}", "math") for word in "abc"] + [score_row("q d", "sql", x=0.0)]
    rows += [score_row("q e", "law"), score_row("q f", "math", x=None), score_row("q g", "math", y=None)]
    found = judged(mapping, write_rows(tmp_path / "t.jsonl", *rows, {"prompt": "bad"}), "--true-categories")
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == found
    assert found["num_prompts"] == 5
    assert found["methods"]["mapping"]["score"] == pytest.approx((3 + 0.5 + 1) / 5)
    assert found["methods"]["mapping"]["mean_active_b"] == pytest.approx((4 * 7 + 2) / 5)
    assert found["methods"]["best single model, in hindsight"]["expert"] == "x-7b"
    assert found["score_where_measured"] == {"score": pytest.approx((4 + 0.5 + 1) / 6), "num_prompts": 6}
    notes = "\n".join(found["notes"])
    assert "1 of 7 prompts abstain or have no mapped category: they go to x-7b" in notes
    assert "holes: 2 prompts lack a score of some expert and are left out (" in notes
    assert "; 1 lack one of the mapping's own expert" in notes
    assert "1 bad rows left out" in notes


def test_the_routers_categories_decide_and_what_it_is_not_sure_of_goes_to_the_general_expert(
    mapping: Path, tmp_path: Path
) -> None:
    fake_artefact(temperature=0.5).save(tmp_path / "router")
    rows = [score_row("sum a", "mine"), score_row("select b", "mine"), score_row("red", "mine")]
    argv = ("--artefact", str(tmp_path / "router"), "--general", "Y-2B")
    found = judged(mapping, write_rows(tmp_path / "t.jsonl", *rows), *argv)
    assert found["general"] == "y-2b"
    assert {name: row["expert"] for name, row in found["categories"].items()} == {
        "math": "x-7b",
        "sql": "y-2b",
        "abstains": "y-2b",
    }


def test_a_learning_table_adds_neighbours_without_near_duplicates_of_what_is_judged(
    mapping: Path, tmp_path: Path
) -> None:
    table = write_rows(
        tmp_path / "t.jsonl", score_row("sum red teal", "math"), score_row("select red teal", "sql", x=0.0)
    )
    starts = (("sum", 1.0), ("select", 0.0))
    rows = [score_row(f"{start} red {word}", "c", x=x) for start, x in starts for word in "abcdefghijklmnop"]
    learn = write_rows(tmp_path / "l.jsonl", *rows, score_row("Sum red, teal!", "c", x=0.0))
    found = judged(mapping, table, "--true-categories", "--learn", str(learn), "--encoder", "fake")
    assert "learning table: 32 prompts; 1 near-duplicates of judged prompts left out" in found["notes"]
    assert found["methods"]["neighbours straight to expert"]["score"] == pytest.approx(0.75)
    assert "best single model of the learning table" in found["methods"]


def test_only_what_the_mapping_was_chosen_from_is_compared_unless_all_are_asked_for(
    mapping: Path, tmp_path: Path
) -> None:
    row = {"prompt": "p", "category": "math", "scores": {"x-7b": 0, "y-2b": 0, "giant": 1}}
    table = write_rows(tmp_path / "t.jsonl", row)
    few, every = (judged(mapping, table, "--true-categories", *more) for more in ((), ("--all-experts",)))
    assert few["methods"]["prompt oracle"]["score"] == 0
    assert every["methods"]["prompt oracle"] == {
        "score": 1.0, "mean_active_b": None, "num_experts": 1, "expert": "giant",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "argv", "message"),
    [
        ([score_row("p", "law")], ("--true-categories",), r"map\.json: the table has no category 'math'; it has law"),
        ([score_row("p", "law")], ("--artefact", "shop"), r"map\.json: the router has no category 'sql'; it has"),
        ([score_row("p", "math") | {"scores": {"z": 1}}], ("--true-categories",), "no scores of expert 'x-7b'"),
        ([score_row("p", "math", x=None)], ("--true-categories",), "no prompt has scores of every expert"),
        ([score_row("p", "math")], ("--true-categories", "--general", "z"), "--general: the table has no scores of"),
        ([score_row("p", "math")], ("--true-categories", "--expert", "z"), "expert 'z': the table has no scores of it"),
        ([score_row("p", "math")], ("--true-categories", "--learn", "t.jsonl"), "every prompt of it is a near"),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_says_why(
    mapping: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rows: list[object],
    argv: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    fake_artefact(categories=("math", "shop")).save(tmp_path / "shop")
    with pytest.raises(ValueError, match=message):
        judged(mapping, write_rows(tmp_path / "t.jsonl", *rows), *argv)
