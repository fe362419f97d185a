"""The command `train` on a user's own files."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from router_fakes import FakeEncoder, write_prompts

from router.model.artefact import load_artefact
from router.training import train_command
from router.training.recipe import DEFAULTS, candidates_of


def run(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    train_command.add_arguments(parser)
    return train_command.run(parser.parse_args(argv))


def test_a_router_is_trained_on_a_users_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_command, "load_encoder", lambda *_: FakeEncoder())
    prompts = write_prompts(tmp_path / "p.jsonl")
    assert run(str(prompts), "--out", str(tmp_path / "router"), "--tf-idf-weight", "0") == 0
    learned = load_artefact(tmp_path / "router")
    assert learned.categories == ("general", "m", "s")
    assert learned.model.tf_idf is None


def test_choosing_prints_every_recipe_and_marks_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train_command, "load_encoder", lambda *_: FakeEncoder())
    prompts = write_prompts(tmp_path / "p.jsonl")
    assert run(str(prompts), "--out", str(tmp_path / "router"), "--choose") == 0
    printed = capsys.readouterr().out
    assert printed.count("<- chosen") == 1
    assert all(recipe.name in printed for recipe in candidates_of(DEFAULTS))


def test_warnings_are_printed_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train_command, "load_encoder", lambda *_: FakeEncoder())
    prompts = write_prompts(tmp_path / "p.jsonl")
    with prompts.open("a") as stream:
        stream.write('\n{"prompt": "a judge", "category": "law"}')
    assert run(str(prompts), "--out", str(tmp_path / "router"), "--seed", "0") == 0
    (kept,) = load_artefact(tmp_path / "router").metrics["warnings"]
    assert kept.startswith("category 'law': 1 distinct prompts and no description")
    assert capsys.readouterr().out.splitlines().count(f"warning: {kept}") == 1


def test_one_split_can_be_trained_on_and_several_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table with its own test rows was trained on whole, and `evaluate --split test` then measured nothing new."""
    monkeypatch.setattr(train_command, "load_encoder", lambda *_: FakeEncoder())
    prompts = write_prompts(tmp_path / "p.jsonl")
    with prompts.open("a") as stream:
        stream.write('\n{"text": "odd one", "label": "m", "split": "test"}')
    for argv, told in (((), "every split (40 train, 1 test)"), (("--split", "train"), "40 prompts, 2 categories")):
        assert run(str(prompts), "--out", str(tmp_path / "router"), *argv) == 0
        printed = capsys.readouterr().out
        assert told in printed
    assert "every split" not in printed


def test_training_on_nothing_says_what_to_name() -> None:
    with pytest.raises(ValueError, match="nothing to train on"):
        run()
