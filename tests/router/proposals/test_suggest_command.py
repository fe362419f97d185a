"""The command `suggest` from files to files."""

from __future__ import annotations

import argparse
import json
import random
import tomllib
from pathlib import Path

import pytest
from router_fakes import FakeEncoder

from router.labelled.prompts import read_prompts
from router.proposals import suggest_command

FILLERS = [f"{one}{other}" for one in "abcdefgh" for other in "stuvwxyz"]


def run(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    suggest_command.add_arguments(parser)
    return suggest_command.run(parser.parse_args(argv))


def write_files(folder: Path) -> list[str]:
    chance = random.Random(0)
    rows = [
        {"text": " ".join([topic, topic, topic, *chance.sample(FILLERS, 2)])}
        for topic in ("tea", "tax", "law")
        for _ in range(20)
    ]
    (folder / "p.jsonl").write_text("\n".join(map(json.dumps, [*rows, {"text": ""}])))
    (folder / "c.json").write_text('[{"name": "drinks", "description": "tea"}, {"name": "office", "tags": ["tax"]}]')
    return [str(folder / "c.json"), str(folder / "p.jsonl")]


def test_files_are_written_and_the_labelled_one_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(suggest_command, "load_encoder", lambda *_: FakeEncoder())
    out = {name: tmp_path / name for name in ("found.json", "found.toml", "labelled.jsonl")}
    names = ("--json", "--toml", "--labelled")
    options = [word for pair in zip(names, map(str, out.values()), strict=True) for word in pair]
    assert run(*write_files(tmp_path), "--categories", "3", *options) == 0
    printed = capsys.readouterr().out
    assert "60 prompts, 60 of them distinct, 3 categories" in printed
    assert "1 bad rows left out" in printed
    figures = json.loads(out["found.json"].read_text())
    assert {row["expert"] for row in figures["categories"]} == {"drinks", "office", None}
    assert tomllib.loads(out["found.toml"].read_text())["experts"]["office"]["description"]
    labelled = read_prompts(out["labelled.jsonl"])
    assert len(labelled.prompts) == 60
    assert set(labelled.categories) <= set(figures["descriptions"]) | {"general"}


def test_without_a_file_the_toml_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(suggest_command, "load_encoder", lambda *_: FakeEncoder())
    assert run(*write_files(tmp_path)) == 0
    assert "[experts.office]" in capsys.readouterr().out


def test_numbers_of_categories_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--categories 1: must lie in 2 to 500"):
        run(*write_files(tmp_path), "--categories", "1")
