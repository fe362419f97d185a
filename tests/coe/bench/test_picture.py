"""Pictures are drawn where matplotlib is, and asked for by one line where it is not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from coe.bench.picture import draw


def test_every_picture_is_a_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `bench`")
    draw({tmp_path / f"{name}.png": lambda figure: figure.subplots().plot([1, 2]) for name in "ab"})
    assert all((tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG") for name in "ab")


def test_without_matplotlib_one_line_says_which_extra_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def paint(_: Any) -> None:
        raise AssertionError("there is nothing to paint on")

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    draw({tmp_path / "a.png": paint, tmp_path / "b.png": paint})
    (line,) = capsys.readouterr().err.splitlines()
    assert "a.png" in line
    assert "b.png" in line
    assert "pip install 'coe-serve[bench]'" in line
    assert not list(tmp_path.iterdir())
