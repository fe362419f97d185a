"""The command `evaluate` on a user's own files: held-out rows, left-out families, out-of-scope prompts, recipes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
from router_fakes import FakeEncoder, no_follow_ups, write_prompts

from coe.bench.picture import draw
from router.evaluation import evaluate_command
from router.labelled.prompts import read_prompts
from router.training.recipe import SHIPPED, candidates_of
from router.training.train import train


@pytest.fixture
def artefact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A router trained on the prompts in p.jsonl."""
    monkeypatch.setattr(evaluate_command, "load_encoder", lambda *_: FakeEncoder())
    train(read_prompts(write_prompts(tmp_path / "p.jsonl")).prompts, FakeEncoder(), follow_up=no_follow_ups()).save(
        tmp_path / "router"
    )
    return tmp_path / "router"


def evaluated(artefact: Path, *argv: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    evaluate_command.add_arguments(parser)
    out = artefact.parent / "out.json"
    words = [str(artefact.parent / "p.jsonl"), "--artefact", str(artefact), "--json", str(out), *argv]
    assert evaluate_command.run(parser.parse_args(words), {"cpu": "x"}, draw) == 0
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def test_a_users_own_prompts_are_measured_as_they_are_and_rewritten(
    artefact: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluated(artefact)
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == found
    assert found["held_out"]["num_prompts"] == 40
    assert found["held_out"]["accuracy"] == 1.0
    assert found["sample of held_out, upper case"]["num_prompts"] == 40
    assert found["made_with"] == {"cpu": "x", "seed": 0}


def test_only_rows_of_the_split_are_measured(artefact: Path) -> None:
    assert evaluated(artefact, "--split", "train")["held_out"]["num_prompts"] == 40


def test_all_splits_are_every_row_and_an_unknown_split_is_an_error(artefact: Path) -> None:
    """`--split all` chose no row, and means of nothing were numpy's warnings."""
    assert evaluated(artefact, "--split", "all")["held_out"]["num_prompts"] == 40
    with pytest.raises(ValueError, match="--split test: no row is of it; there are train"):
        evaluated(artefact, "--split", "test")


def test_parts_of_the_prompts_are_measured_and_printed(artefact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"text": "sum q", "label": "m", "language": "en"}, {"text": "select q", "label": "m", "language": "de"}]
    path = artefact.parent / "p.jsonl"
    path.write_text("\n".join(map(json.dumps, [*rows, {"text": "z"}])))
    found = evaluated(artefact)
    assert found["categories"]["m"]["recall"] == 0.5
    assert found["categories"]["s"]["recall"] is None
    assert found["confusions"] == [
        {"true": "m", "predicted": "s", "count": 1, "example": "p.jsonl:2", "text": "select q"}
    ]
    assert sum(each["num_prompts"] for each in found["calibration"]["bins"]) == 2
    assert found["coverage"]["points"][0]["accuracy"] == 0.5
    assert {name: row["accuracy"] for name, row in found["languages"].items()} == {"en": 1.0, "de": 0.0}
    assert "families" not in found
    printed = capsys.readouterr().out
    assert "1 bad rows left out" in printed
    assert "num_prompts  num_guessed  accuracy" in printed


def test_folds_that_are_none_are_refused_by_file(artefact: Path, tmp_path: Path) -> None:
    (tmp_path / "folds.json").write_text('{"topics": []}')
    with pytest.raises(ValueError, match=r"folds\.json: not a JSON file of \{folds"):
        evaluated(artefact, "--folds", str(tmp_path / "folds.json"))


def test_left_out_families_recipes_and_out_of_scope_prompts_are_added_on_request(
    artefact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate_command, "authored_prompts", lambda: ())
    write_prompts(artefact.parent / "p.jsonl", families=("a", "b"))
    (tmp_path / "folds.json").write_text(json.dumps({"folds": {"m": ["m a"], "s": ["s b"]}}))
    (tmp_path / "o.jsonl").write_text(json.dumps({"prompt": "my sum x"}) + "\n" + json.dumps({"prompt": "hamlet"}))
    outside = ("--outside", str(tmp_path / "o.jsonl"))
    found = evaluated(artefact, "--folds", str(tmp_path / "folds.json"), "--recipes", *outside)
    assert set(found["left_out_families"]["folds"]) == {"m: m a", "s: s b"}
    assert set(found["recipes"]) == {recipe.name for recipe in candidates_of(SHIPPED)}
    assert found["out_of_scope"]["num_pairs"] == 1


def test_a_file_without_a_personal_prompt_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "o.jsonl").write_text(json.dumps({"prompt": "who wrote hamlet"}))
    with pytest.raises(ValueError, match=r"o\.jsonl: no row with a 'prompt' about the asker's own things"):
        evaluate_command.read_out_of_scope(tmp_path / "o.jsonl", FakeEncoder())
