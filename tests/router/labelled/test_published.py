"""Published result tables: both layouts become rows of prompt, category and scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from router.mapping_study.score_table import read_scores


def arena_line(index: str, model: str, score: float | None) -> str:
    judged = None if score is None else {"score": score, "metric": "mcq_accuracy", "inference_cost": 0.1}
    row = {"global_index": index, "question": f"question {index}", "llm_selected": model, "evaluation_result": judged}
    return json.dumps(row)


def write_bench(root: Path, dataset: str, model: str, time: str, scores: list[float], **more: object) -> None:
    records = [
        {"index": at, "origin_query": "o", "prompt": f"{dataset} {at}", "score": score, "raw_output": "r"}
        for at, score in enumerate(scores)
    ]
    file = root / dataset / "test" / model / f"{time}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"performance": 0.5, "records": records, **more}))


def test_router_arenas_cached_results_are_joined_by_prompt(tmp_path: Path) -> None:
    lines = [arena_line("MMLUPro_law_1", "a", 1.0), arena_line("WMT19-gu-en_2", "a", -0.03)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    lines = [arena_line("MMLUPro_law_1", "b", 0.5), arena_line("WMT19-gu-en_2", "b", None)]
    (tmp_path / "b.jsonl").write_text("\n".join(lines))
    table = read_scores(tmp_path)
    assert table.prompts == ("question MMLUPro_law_1", "question WMT19-gu-en_2")
    assert (table.categories, table.experts) == (("MMLUPro", "WMT19"), ("a", "b"))
    np.testing.assert_array_equal(table.values, [[1, 0.5], [0, np.nan]])


def test_router_arenas_predictions_are_scores_of_the_chosen_models(tmp_path: Path) -> None:
    rows = [
        {"global index": "AIME_1", "prompt": "p", "prediction": "a", "accuracy": 1.0},
        {"global index": "AIME_2", "prompt": "q", "prediction": "b", "accuracy": None},
    ]
    (tmp_path / "some-router.json").write_text(json.dumps(rows))
    table = read_scores(tmp_path / "some-router.json")
    assert (table.prompts, table.categories, table.experts) == (("p", "q"), ("AIME", "AIME"), ("a", "b"))
    np.testing.assert_array_equal(table.values, [[1, np.nan], [np.nan, np.nan]])


def test_llm_router_benchs_latest_file_of_a_model_counts_and_demos_do_not(tmp_path: Path) -> None:
    write_bench(tmp_path, "aime", "m", "20250101_000000", [0.0, 0.0])
    write_bench(tmp_path, "aime", "m", "20250202_000000", [1.0, 0.0])
    write_bench(tmp_path, "bbh", "folder", "20250101_000000", [1.0], model_name="n", dataset_name="bbh", split="test")
    write_bench(tmp_path, "bbh", "demo", "20250101_000000", [1.0], demo=True)
    table = read_scores(tmp_path)
    assert (table.prompts, table.categories) == (("aime 0", "aime 1", "bbh 0"), ("aime", "aime", "bbh"))
    assert table.experts == ("m", "n")
    np.testing.assert_array_equal(table.values, [[1, np.nan], [0, np.nan], [np.nan, 1]])


def test_a_folder_of_our_own_tables_is_read_and_their_bad_lines_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"prompt": "p", "category": "c", "scores": {"x": 1}}) + "\n{broken")
    table = read_scores(tmp_path)
    assert (table.prompts, [row.where for row in table.bad_rows]) == (("p",), ["a.jsonl:2"])


def test_what_is_in_no_layout_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no result table there; known are RouterArena's"):
        read_scores(tmp_path)
    (tmp_path / "x.json").write_bytes(b"\xff\x00")
    with pytest.raises(ValueError, match=r"x\.json: not JSON"):
        read_scores(tmp_path)
