"""Measures are what their names say; a left-out family is never seen; commands run on a user's own files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from router import evaluate, frontier, train
from router.abstain import AbstainRule
from router.artefact import Artefact
from router.evaluate import auroc, expected_calibration_error, leave_family_out
from router.explain import explain
from router.frontier import half_splits, paired
from router.own import fillings, own_prompts
from router.prompts import Prompt
from router.score_table import Cost, ScoreTable, costs_of, read_scores
from router.train import Settings
from tests.router.router_fakes import FakeEncoder, embed, fake_artefact


def test_a_calibrated_classifier_has_no_calibration_error() -> None:
    confidence = np.full(1000, 0.7)
    is_right = np.arange(1000) < 700
    assert expected_calibration_error(confidence, is_right) == pytest.approx(0, abs=1e-9)
    assert expected_calibration_error(np.ones(10), np.zeros(10, bool)) == 1


def test_auroc_is_one_when_all_outsiders_are_below() -> None:
    assert auroc(np.array([0.9, 0.8]), np.array([0.1])) == 1
    assert auroc(np.array([0.5]), np.array([0.5])) == 0.5


def test_a_family_is_judged_by_a_model_that_never_saw_it() -> None:
    """The left-out family alone says "sum" for sql: whoever saw it would get it right."""
    rng = np.random.default_rng(0)
    words = ["red", "green", "blue", "pink", "gold", "grey", "teal", "navy"]
    prompts = [
        Prompt(f"{word} {' '.join(rng.choice(words, 3))}", category, family=family)
        for category, family, word in [("math", "a", "sum"), ("sql", "b", "select"), ("sql", "odd", "sum")]
        for _ in range(40)
    ]
    vectors = FakeEncoder().encode([prompt.text for prompt in prompts])
    report = leave_family_out(prompts, vectors, {"sql": ["odd"]}, Settings(num_exemplars=20))
    assert report.folds == {"sql: odd": 0.0}
    assert report.score == report.topics["sql"] == 0.0


def test_own_prompts_are_many_distinct_and_the_same_every_time() -> None:
    prompts = own_prompts()
    assert prompts == own_prompts()
    assert len({prompt.text for prompt in prompts}) > 0.99 * len(prompts)
    assert not [prompt.text for prompt in prompts if "{{" in prompt.text]


def test_a_line_with_slots_is_filled_differently_each_time() -> None:
    assert set(fillings("((a|b)) c", 20)) == {"a c", "b c"}
    assert fillings("plain\\nline", 5) == ["plain\nline"]


def test_an_explanation_names_the_nearest_training_prompts() -> None:
    told = explain(fake_artefact(), np.tile(embed("select"), 3).astype(np.float32))
    assert told.probabilities[0][0] == "sql"
    assert told.neighbours[0].id == "b"
    assert told.doubt == ""
    assert "sure" in str(told)
    assert (
        "confidence"
        in explain(
            fake_artefact(abstain=AbstainRule(0.99, -1.0)), np.tile(embed("sum select"), 3).astype(np.float32)
        ).doubt
    )


def write_scores(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_a_score_table_keeps_its_holes(tmp_path: Path) -> None:
    rows = [
        {"prompt": "p", "category": "c", "scores": {"x-7b": 1, "y": None}},
        {"question": "q", "task": "d", "scores": {"x-7b": 0}},
    ]
    table = read_scores(write_scores(tmp_path / "s.jsonl", rows))
    assert (table.prompts, table.categories, table.experts) == (("p", "q"), ("c", "d"), ("x-7b", "y"))
    assert np.isnan(table.values[:, 1]).all()
    assert costs_of(table.experts) == {"x-7b": Cost(7, 7)}


def test_a_row_without_scores_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"s\.jsonl:1: no 'scores' object"):
        read_scores(write_scores(tmp_path / "s.jsonl", [{"prompt": "p"}]))


def test_with_clear_categories_the_learned_router_equals_the_true_one_and_beats_any_single() -> None:
    rng = np.random.default_rng(0)
    words = ["red", "green", "blue", "pink", "gold"]
    labels = ["math", "sql"] * 60
    texts = [f"{'sum' if label == 'math' else 'select'} {rng.choice(words)}" for label in labels]
    values = np.array([[1.0, 0.0] if label == "math" else [0.0, 1.0] for label in labels])
    table = ScoreTable(tuple(texts), tuple(labels), ("a-1b", "b-2b"), values)
    vectors = FakeEncoder().encode(texts)[:, :16]
    study = half_splits(table, vectors, costs_of(table.experts), num_splits=3)
    assert study.methods["learned router"].score == study.methods["prompt oracle"].score == 1
    assert study.against_true_category["difference"] == 0
    assert study.against_single["p"] < 0.01


def test_the_bootstrap_is_seeded_and_sees_a_difference() -> None:
    differences = np.random.default_rng(1).normal(0.1, 0.2, 500)
    assert paired(differences) == paired(differences)
    assert paired(differences)["p"] < 0.01 < paired(-differences)["p"]


def test_the_commands_run_on_a_users_own_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train, "encoder_for", lambda *_: FakeEncoder())
    rows = [
        {"prompt": f"{word} {chr(97 + i)}", "category": category}
        for category, word in (("m", "sum"), ("s", "select"))
        for i in range(20)
    ]
    prompts = write_scores(tmp_path / "p.jsonl", rows)
    run(train, [str(prompts), "--out", str(tmp_path / "router")])
    assert Artefact.load(tmp_path / "router").categories == ("m", "s")
    run(evaluate, [str(prompts), "--artefact", str(tmp_path / "router"), "--json", str(tmp_path / "out.json")])
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last == json.loads((tmp_path / "out.json").read_text())
    assert last["held_out"]["num_prompts"] == 40
    scores = [{"prompt": "p", "category": c, "scores": {"x-7b": c == "m", "y-2b": 0.5}} for c in ("m", "s") * 5]
    path = write_scores(tmp_path / "s.jsonl", scores)
    run(frontier, [str(path)])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["points"][-1]["mapping"] == {"m": "x-7b", "s": "y-2b"}


def test_training_on_nothing_says_what_to_name() -> None:
    with pytest.raises(ValueError, match="nothing to train on"):
        run(train, [])


def run(module: object, argv: list[str]) -> None:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)  # type: ignore[attr-defined]
    assert module.run(parser.parse_args(argv)) == 0  # type: ignore[attr-defined]
