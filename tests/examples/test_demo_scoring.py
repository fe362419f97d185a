"""The demo's comparisons, over score tables that are made up."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from examples.demo.choose_experts import choose
from examples.demo.rows import Row
from examples.demo.score_experts import compare, compare_experts, compare_routed, counted, main, read_choices
from examples.demo.score_rows import ScoreRow, read_score_rows


def scored(domain: str, number: int) -> ScoreRow:
    """The base knows nothing; an expert knows every row of its own domain and no other."""
    scores = {"general": 0.0, "x": float(domain == "x"), "y": float(domain == "y")}
    return ScoreRow(f"{domain}-{number}", domain, "exact", scores)


ROWS = [scored(domain, number) for domain in "xy" for number in range(20)]


def test_a_comparison_is_better_only_with_its_whole_interval() -> None:
    once = [replace(row, scores={"general": 0.0, "x": float(at == 0)}) for at, row in enumerate(ROWS)]
    often = [replace(row, scores={"general": 0.0, "x": float(at % 2)}) for at, row in enumerate(ROWS)]
    assert not compare(once, ["x"] * 40).beats_base
    assert compare(often, ["x"] * 40).beats_base
    assert compare(often, ["x"] * 40).difference == 0.5


def test_likelihoods_are_reported_beside_their_scores() -> None:
    rows = [ScoreRow(str(at), "x", "loss", {"general": math.exp(-2), "x": math.exp(-1)}) for at in range(20)]
    found = compare_experts(rows)["x"]
    assert (found.base_nll, found.expert_nll) == (2.0, 1.0)
    assert found.difference == pytest.approx(math.exp(-1) - math.exp(-2), abs=1e-4)
    assert compare_experts(ROWS)["y"].expert_nll is None


def test_the_composition_is_scored_by_whoever_was_chosen() -> None:
    choices = {row.id: row.domain for row in ROWS} | {"x-0": "y", "y-0": "general"}
    routed = compare_routed(ROWS, choices)
    assert routed.base == 0
    assert routed.composition == routed.difference == 0.95
    assert routed.own_expert == 1
    assert routed.share_own == 0.95
    assert routed.chosen == {"x": {"x": 19, "y": 1}, "y": {"y": 19, "general": 1}}


def test_a_row_without_a_choice_is_refused() -> None:
    with pytest.raises(ValueError, match="20 rows have no choice, the first is y-0"):
        compare_routed(ROWS, {row.id: "x" for row in ROWS[:20]})


def test_choices_are_read_whatever_else_a_line_says(tmp_path: Path) -> None:
    file = tmp_path / "choices.jsonl"
    file.write_text("".join(json.dumps({"id": row.id, "expert": "x", "why": "category"}) + "\n" for row in ROWS))
    assert read_choices(file) == {row.id: "x" for row in ROWS}


def written(folder: Path, rows: list[ScoreRow]) -> Path:
    """A table as `coe router score` writes it."""
    lines = [
        {"id": row.id, "prompt": "?", "category": row.domain, "check": row.check, "scores": row.scores} for row in rows
    ]
    file = folder / "scores.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_the_summary_says_where_its_figures_come_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    choices, out = tmp_path / "choices.jsonl", tmp_path / "summary.json"
    choices.write_text("".join(json.dumps({"id": row.id, "expert": row.domain}) + "\n" for row in ROWS))
    main([str(written(tmp_path, ROWS)), "--choices", str(choices), "--out", str(out)])
    summary = json.loads(out.read_text())
    assert summary == json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["experts"]["x"]["num_rows"] == 20
    assert summary["routed"]["composition"] == 1
    assert {"seed", "num_resamples", "commit", "hardware", "versions", "data_fingerprint"} <= set(summary)


def test_a_table_with_a_hole_is_refused_by_name(tmp_path: Path) -> None:
    rows = [*ROWS, ScoreRow("x-hole", "x", "exact", {"general": 0.0, "x": None})]  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="x-hole has no score of x"):
        read_score_rows(written(tmp_path, rows))
    assert read_score_rows(written(tmp_path, ROWS)) == ROWS


def test_most_chosen_come_first_and_ties_by_name() -> None:
    assert list(counted(["b", "c", "a", "c", "a"]).items()) == [("a", 2), ("c", 2), ("b", 1)]


def test_the_router_sees_the_raw_last_user_turn() -> None:
    rows = [Row(f"x-{n}", "x", "test", f"prompt {n}", "a", "a", "exact", "") for n in range(3)]
    seen: list[Any] = []
    router: Any = SimpleNamespace(route=lambda queries: seen.extend(queries) or [None] * len(queries))
    choose(router, rows)
    assert [[(turn.role, turn.content) for turn in query.messages] for query in seen] == [
        [("user", row.prompt)] for row in rows
    ]
    assert all(query.expert is None for query in seen)
