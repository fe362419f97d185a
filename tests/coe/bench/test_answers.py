"""Neighbours that would answer: how many, how many wrongly, with the guards and without them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from coe.bench.answers import AskedRow, comparable, measure, publish
from coe.bench.report import Output


def unit(*angles: float) -> np.ndarray:
    """(n, 1, 2): one vector of one part for each angle."""
    return np.array([[[np.cos(angle), np.sin(angle)]] for angle in angles], np.float32)


def test_nearest_neighbours_are_judged_by_their_answers() -> None:
    rows = [
        AskedRow("what is a cat", "pets", "animal"),
        AskedRow("what is a cat then", "pets", "animal"),
        AskedRow("what are 3 cats", "pets", "animals"),
        AskedRow("what are 4 cats", "pets", "more animals"),
        AskedRow("far away", "pets", "place"),
        AskedRow("what is a cat", "other"),
    ]
    found = measure(rows, unit(0.0, 0.1, 0.5, 0.55, 3.0, 0.0), (0.9,))
    other, pets = found
    assert (pets.num_prompts, pets.answered, pets.wrong) == (5, 4, 2)
    assert (pets.guarded_answered, pets.guarded_wrong) == (2, 0)
    assert (other.num_prompts, other.answered, other.wrong, other.guarded_wrong) == (1, 0, None, None)


def test_an_unknown_answer_is_not_a_wrong_one() -> None:
    rows = [AskedRow("a", "x", "1"), AskedRow("b", "x")]
    (found,) = measure(rows, unit(0.0, 0.0), (0.9,))
    assert (found.answered, found.wrong) == (2, 0)


def test_chunks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows = [AskedRow(f"{'not ' * (at % 2)}text", "x", str(at % 3)) for at in range(40)]
    vectors = unit(*rng.uniform(0, 2, 40).tolist())
    whole = measure(rows, vectors)
    monkeypatch.setattr("coe.bench.answers.CHUNK", 7)
    assert measure(rows, vectors) == whole
    assert any(each.answered != each.guarded_answered for each in whole)


def test_long_prompts_and_equal_ones_are_left_out() -> None:
    rows = [AskedRow("a", "x"), AskedRow("a", "x"), AskedRow("a", "y"), AskedRow("é" * 113, "x")]
    assert comparable(rows) == [AskedRow("a", "x"), AskedRow("a", "y")]


def test_figures_go_into_a_table_and_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [AskedRow("a", "x", "1"), AskedRow("b", "x", "2")]
    publish(measure(rows, unit(0.0, 0.0), (0.9,)), {"encoder": "e"}, Output(None, tmp_path / "out.json"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["x", "0.90", "2", "100.0%", "100.0%", "100.0%", "100.0%"]
    written = json.loads((tmp_path / "out.json").read_text())
    assert written == json.loads(lines[-1])
    assert written["neighbours"][0]["wrong"] == 2
