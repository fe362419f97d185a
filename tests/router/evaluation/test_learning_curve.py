"""The learning curve: judged on rows that nothing was learned from, both classifiers on the same ones."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from router_fakes import FakeEncoder, toy_prompts

from router.evaluation import learning_curve
from router.training.own.general_class import NUM_PROMPTS


def run(monkeypatch: pytest.MonkeyPatch, *argv: str) -> int:
    monkeypatch.setattr(learning_curve, "load_encoder", lambda *_, **__: FakeEncoder())
    parser = argparse.ArgumentParser()
    learning_curve.add_arguments(parser)
    return learning_curve.run(parser.parse_args(argv))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "toys.jsonl"
    rows = [{"prompt": prompt.text, "category": prompt.category} for prompt in toy_prompts()]
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


def test_every_number_of_rows_gets_a_line_and_a_point(
    monkeypatch: pytest.MonkeyPatch, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told, out = tmp_path / "told.json", tmp_path / "out.json"
    told.write_text(json.dumps({"math": "sum", "sql": "select"}))
    arguments = ["--rows", "0", "2", "all", "--seeds", "2", "--general", "--json", str(out)]
    assert run(monkeypatch, str(table), "--descriptions", str(told), *arguments) == 0
    points = {point["rows"]: point for point in json.loads(out.read_text())["points"]}
    assert list(points) == ["0", "2", "all"]
    assert points["0"]["described"] == 1.0 > points["0"]["plain"]
    assert points["all"]["plain"] == 1.0
    for point in points.values():
        assert point["low"] <= point["difference"] == pytest.approx(point["described"] - point["plain"])
        assert point["general_kept"] > 0.5
    assert capsys.readouterr().out.count("mean of 1 tables") == 3


def test_no_near_duplicate_of_a_judged_row_is_learned_from(table: Path) -> None:
    found = learning_curve.table_of(table, {}, FakeEncoder(), 300)
    groups = found.rows.groups
    assert len(found.judged)
    assert len(found.learned)
    assert not set(groups[found.judged]) & set(groups[found.learned])
    assert len(found.general_learned) + len(found.general_judged) == NUM_PROMPTS
    drawn = learning_curve.drawn(found, "2", 0)
    assert np.bincount(found.rows.labels[drawn]).max() == 2


@pytest.mark.parametrize(
    ("argv", "message"), [(["--rows", "few"], "--rows few"), (["--descriptions", "a", "b"], "1 tables and 2")]
)
def test_wrong_arguments_are_refused(
    monkeypatch: pytest.MonkeyPatch, table: Path, argv: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run(monkeypatch, str(table), *argv)
