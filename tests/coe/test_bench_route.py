"""`coe bench route` prints every section, writes its files, and ends in one JSON line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from coe.bench.route import run
from coe.cli import main


class Squares(NamedTuple):
    """A section that needs no router."""

    name: str = "squares"
    headers: tuple[str, ...] = ("number", "square")
    rows: tuple[tuple[str, ...], ...] = (("2", "4"), ("3", "9"))
    figures: tuple[dict[str, int], ...] = ({"number": 2, "square": 4}, {"number": 3, "square": 9})

    def draw(self, axes: Any) -> None:
        axes.plot([2, 3], [4, 9])


def test_a_section_is_a_table_a_file_a_picture_and_part_of_the_last_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="the extra `bench`")
    other = Squares(name="others", figures=({"number": 1, "square": 1},))
    assert run([Squares(), other], seed=7, out=tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["2", "4"]
    last = json.loads(lines[-1])
    assert last["seed"] == 7
    assert last["squares"][1] == {"number": 3, "square": 9}
    written = json.loads((tmp_path / "others.json").read_text())
    assert written == {key: last[key] for key in ("benchmark", "seed", "hardware", "others")}
    assert (tmp_path / "squares.png").read_bytes().startswith(b"\x89PNG")


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run([Squares()], seed=0, out=None) == 0
    assert not list(tmp_path.iterdir())


def test_the_command_times_the_shipped_router(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "route", "--tokens", "8", "--calls", "2"]) == 0
    (latency,) = json.loads(capsys.readouterr().out.splitlines()[-1])["latency"]
    assert (latency["encoder"], latency["num_tokens"], latency["num_calls"]) == ("all-MiniLM-L6-v2", 8, 2)


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
