"""A score table says what is wrong with it, keeps its holes, and knows what experts cost."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from router.mapping_study.score_table import Cost, ScoreTable, costs_of, read_scores


def write(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def row(**changes: object) -> dict[str, object]:
    return {"prompt": "p", "category": "c", "scores": {"x-7b": 1}} | changes


def test_a_score_table_keeps_its_holes(tmp_path: Path) -> None:
    rows = [row(scores={"x-7b": 1, "y": None}), {"question": "q", "task": "d", "scores": {"x-7b": 0}}]
    table = read_scores(write(tmp_path / "s.jsonl", *rows))
    assert (table.prompts, table.categories, table.experts) == (("p", "q"), ("c", "d"), ("x-7b", "y"))
    assert np.isnan(table.values[:, 1]).all()
    assert table.only(["x-7b"]).complete_rows().tolist() == [0, 1]
    assert table.complete_rows().tolist() == []


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (row(scores=None), "no 'scores' object; a row has scores: {expert: 0 … 1 or null}"),
        (row(prompt=" "), "no text in 'prompt', 'messages', 'question', 'query' or 'text'"),
        (row(category=None), "no 'category', 'label', 'task' or 'subject'"),
        ([1], "not an object (list)"),
    ],
)
def test_a_bad_row_is_left_out_and_named(tmp_path: Path, bad: object, why: str) -> None:
    table = read_scores(write(tmp_path / "s.jsonl", row(), bad))
    assert table.prompts == ("p",)
    assert [(each.where, each.why) for each in table.bad_rows] == [("s.jsonl:2", why)]
    with pytest.raises(ValueError, match="no row can be used; 1 bad rows left out: 1 x"):
        read_scores(write(tmp_path / "s.jsonl", bad))


@pytest.mark.parametrize(
    ("value", "message"), [("yes", "score 'yes' of 'x'"), (1.5, "score 1.5 of 'x'"), (float("nan"), "score nan of 'x'")]
)
def test_a_score_beyond_its_scale_is_an_error_that_names_it(tmp_path: Path, value: object, message: str) -> None:
    """Leaving such rows out would bias the means: the scale of the whole table is another one."""
    with pytest.raises(ValueError, match=rf"s\.jsonl:2: {message}"):
        read_scores(write(tmp_path / "s.jsonl", row(), row(scores={"x": value})))


def test_a_tables_cell_may_hold_the_scores_as_json(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text('text,label,scores\np,c,"{""x-7b"": 0.5}"\n')
    table = read_scores(tmp_path / "s.csv")
    assert (table.prompts, table.categories, table.values.tolist()) == (("p",), ("c",), [[0.5]])


def test_a_table_without_any_score_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no scores in it"):
        read_scores(write(tmp_path / "s.jsonl", row(scores={})))


def test_an_unknown_expert_is_named_with_those_there_are() -> None:
    table = ScoreTable(("p",), ("c",), ("x", "y"), np.ones((1, 2)))
    with pytest.raises(ValueError, match="expert 'z': the table has no scores of it; it has x, y"):
        table.only(["z"])


@pytest.mark.parametrize("content", ["no", "[]", "\udcff"])
def test_costs_that_are_no_object_are_refused_by_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "costs.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=r"costs\.json: not "):
        costs_of(("x",), tmp_path / "costs.json")


@pytest.mark.parametrize(
    "choices", [["one", "two"], {"text": ["one", "two"]}, "['one', 'two']", "{'text': ['one', 'two']}", "one\ntwo"]
)
def test_the_options_are_part_of_the_prompt(tmp_path: Path, choices: object) -> None:
    for key in ("options", "choices"):
        table = read_scores(write(tmp_path / "s.jsonl", row(**{key: choices})))
        assert table.prompts == ("p\none\ntwo",)


def test_the_same_prompt_twice_is_one_with_the_mean_of_what_was_measured() -> None:
    values = np.array([[1.0, np.nan], [0.0, np.nan], [0.0, 0.5], [0.0, np.nan]])
    table = ScoreTable(("b", "a", "b", "c"), ("m", "n", "m", "m"), ("x", "y"), values).merged()
    assert (table.prompts, table.categories) == (("b", "a", "c"), ("m", "n", "m"))
    np.testing.assert_array_equal(table.values, [[0.5, 0.5], [0, np.nan], [0, np.nan]])


def test_names_tell_sizes_and_a_file_overrules_them(tmp_path: Path) -> None:
    experts = ("llama-8b", "Qwen3-30B-A3B", "Mixtral-8x7B", "phi")
    assert costs_of(experts) == {"llama-8b": Cost(8, 8), "Qwen3-30B-A3B": Cost(3, 30)}
    path = write(tmp_path / "costs.json", {"Mixtral-8x7B": {"active_b": 12.9, "total_b": 46.7}})
    assert costs_of(experts, path)["Mixtral-8x7B"] == Cost(12.9, 46.7)


@pytest.mark.parametrize("entry", [7, {"active_b": 7}, {"active_b": 9, "total_b": 7}, {"active_b": 0, "total_b": 7}])
def test_a_cost_that_is_none_is_named(tmp_path: Path, entry: object) -> None:
    with pytest.raises(ValueError, match="cost of 'x' is"):
        costs_of(("x",), write(tmp_path / "costs.json", {"x": entry}))


def test_expected_scores_come_with_intervals_and_leave_holes_out() -> None:
    values = np.array([[1.0, np.nan], [0.0, np.nan], [1.0, 1.0]])
    found = ScoreTable(("p", "q", "r"), ("c",) * 3, ("x", "y"), values).expected_scores(np.array(["c", "c", "d"]))
    assert set(found["c"]) == {"x"}
    assert (found["c"]["x"].score, found["c"]["x"].num_prompts) == (0.5, 2)
    assert found["c"]["x"].low < 0.5 < found["c"]["x"].high
    assert found["d"]["y"].low == pytest.approx(0.2065, abs=1e-4)  # Wilson's interval of 1 in 1
