"""Every section is printed, written and drawn; the last line is one JSON object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from coe.bench.route import run


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
