"""Measures are what their names say; a left-out family is never seen; commands run on a user's own files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from router import evaluate, train
from router.abstain import AbstainRule
from router.artefact import Artefact
from router.evaluate import auroc, expected_calibration_error, leave_family_out
from router.explain import explain
from router.own import fillings, own_prompts
from router.prompts import Prompt
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
    assert told.neighbours[0].exemplar.id == "b"
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


def test_training_on_nothing_says_what_to_name() -> None:
    with pytest.raises(ValueError, match="nothing to train on"):
        run(train, [])


def run(module: object, argv: list[str]) -> None:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)  # type: ignore[attr-defined]
    assert module.run(parser.parse_args(argv)) == 0  # type: ignore[attr-defined]
