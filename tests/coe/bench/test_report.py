"""A record reaches its files and the last line before anything is drawn; what cannot be written is refused first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coe.bench.report import Output, p95, record, table
from coe.errors import ConfigError
from coe.machine import this_machine


def test_the_record_is_out_when_its_picture_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="the extra `bench`")

    def paint(_: Any) -> None:
        raise ZeroDivisionError

    result = record("test", {"value": 1})
    with pytest.raises(ZeroDivisionError):
        Output(tmp_path / "out", tmp_path / "more" / "r.json").publish("figures", result, paint)
    written = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert written == json.loads((tmp_path / "more" / "r.json").read_text())
    assert written == json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (written["benchmark"], written["value"], written["hardware"]["cpu"]) == ("test", 1, this_machine().cpu)


@pytest.mark.parametrize("place", ["out", "json", "json folder"])
def test_where_nothing_can_be_written_is_refused_by_name(tmp_path: Path, place: str) -> None:
    file = tmp_path / "file"
    file.write_text("")
    if place == "out":
        words: dict[str, Path] = {"folder": file}
    else:
        words = {"json_file": file / "r.json" if place == "json" else tmp_path}
    with pytest.raises(ConfigError, match="--out" if place == "out" else "--json"):
        Output(**words)


def test_a_percentile_is_one_of_the_values() -> None:
    assert p95([3.0]) == 3.0
    assert p95(range(1, 101)) == 95
    assert p95(range(20, 0, -1)) == 19


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table(("name", "n"), [("a", "100"), ("long name", "1")]).splitlines() == [
        "name         n",
        "a          100",
        "long name    1",
    ]
