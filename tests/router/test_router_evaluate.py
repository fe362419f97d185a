"""Measures are what their names say; a left-out family is never seen; commands run on a user's own files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from router_fakes import FakeEncoder, embed, fake_artefact, toy_prompts

from router.evaluation import evaluate_command
from router.evaluation.calibration import expected_calibration_error, reliability
from router.evaluation.explain_command import explain
from router.evaluation.leave_family_out import (
    OutOfScopePrompts,
    chosen_by_others,
    fold_accuracies,
    leave_family_out,
    mean_over_topics,
    out_of_scope_report,
    summarise,
)
from router.evaluation.out_of_scope import auroc, is_personal, length_matched
from router.evaluation.rewritings import REWRITINGS, rewritten
from router.model.abstain import AbstainRule
from router.model.artefact import load_artefact
from router.training import train_command
from router.training.authored import PLAIN_FAMILY, TEMPLATE_FAMILY, authored_prompts, fillings
from router.training.out_of_fold import choose
from router.training.prompts import Prompt
from router.training.recipe import Recipe, candidates_of
from router.training.self_labelling import Votes, max_entropy_for, self_labelled
from router.training.training_set import TrainingSet


def test_a_calibrated_classifier_has_no_calibration_error() -> None:
    confidence = np.full(1000, 0.7)
    is_right = np.arange(1000) < 700
    assert expected_calibration_error(confidence, is_right) == pytest.approx(0, abs=1e-9)
    assert expected_calibration_error(np.ones(10), np.zeros(10, bool)) == 1


def test_auroc_is_one_when_every_out_of_scope_prompt_is_below() -> None:
    assert auroc(np.array([0.9, 0.8]), np.array([0.1])) == 1
    assert auroc(np.array([0.5]), np.array([0.5])) == 0.5


def odd_family() -> TrainingSet:
    """Three families; "odd" alone says "sum" for sql: whoever saw it would get it right."""
    rng = np.random.default_rng(0)
    words = ["red", "green", "blue", "pink", "gold", "grey", "teal", "navy"]
    prompts = [
        Prompt(f"{word} {' '.join(rng.choice(words, 3))}", category, family=family)
        for category, family, word in [("math", "a", "sum"), ("sql", "b", "select"), ("sql", "odd", "sum")]
        for _ in range(40)
    ]
    return TrainingSet.of(prompts, FakeEncoder())


@pytest.mark.parametrize("recipe", [Recipe(num_exemplars=20), Recipe(num_exemplars=20, tf_idf_weight=0)])
def test_a_family_is_judged_by_a_model_that_never_saw_it(recipe: Recipe) -> None:
    report = summarise(leave_family_out(odd_family(), {"sql": ["odd"]}, recipe))
    assert report.folds == {"sql: odd": 0.0}
    assert report.score == report.topics["sql"] == 0.0
    assert fold_accuracies(odd_family(), {"sql": ["odd"]}, [recipe]).tolist() == [[0.0]]


def test_a_fold_takes_the_recipe_that_the_others_chose() -> None:
    """Recipe 0 is best on the first fold only; judged by the others, every fold but theirs takes recipe 1."""
    accuracies = np.array([[1.0, 0.2, 0.2], [0.5, 0.6, 0.6]])
    assert chosen_by_others(accuracies, ["a", "b", "c"]).tolist() == [0.5, 0.2, 0.2]
    assert mean_over_topics(np.array([1.0, 0.0, 0.5]), ["a", "a", "b"]) == 0.5


def test_out_of_scope_prompts_are_compared_with_left_out_rows_of_like_length() -> None:
    texts = ("teal navy pink gold", "gold gold gold grey")
    prompts = OutOfScopePrompts(texts, FakeEncoder().encode(texts))
    left_out = leave_family_out(odd_family(), {"sql": ["b", "odd"]}, Recipe(), prompts)
    report = out_of_scope_report(left_out)
    assert summarise(left_out).topics["sql"] == np.mean(list(summarise(left_out).folds.values()))
    assert report.num_pairs == 2
    assert report.length_auroc in (0.25, 0.5, 0.75)


def test_pairs_are_of_like_length_and_no_row_is_used_twice() -> None:
    assert sorted(length_matched([10, 100, 11], [10, 12, 500])) == [(0, 0), (2, 1)]
    assert is_personal("how many steps have i taken")
    assert not is_personal("who wrote hamlet")


@pytest.mark.parametrize("name", REWRITINGS)
def test_a_rewriting_is_seeded_and_keeps_most_letters(name: str) -> None:
    text = "Which of these statements follows? Please, think: the answer is short."
    first = rewritten(text, name)
    assert first == rewritten(text, name) != text
    kept = set(first.casefold().split()) & set(text.casefold().replace("?", "").replace(",", "").split())
    assert len(kept) >= 4


def test_reliability_bins_hold_every_prompt_once() -> None:
    bins = reliability(np.array([0.0, 0.5, 0.51, 1.0]), np.array([False, True, False, True]))
    assert sum(bin.num_prompts for bin in bins) == 4
    assert bins[-1] == (1, 1.0, 1.0)


def test_neighbours_label_what_is_near_and_leave_near_duplicates_alone() -> None:
    seed = toy_prompts()
    unlabelled = [Prompt(text, "?") for text in ("sum red sum", "select gold select", seed[0].text)]
    labelled = self_labelled(seed, unlabelled, FakeEncoder())
    assert {prompt.text: prompt.category for prompt in labelled} == {"sum red sum": "math", "select gold select": "sql"}


def test_sure_means_right_often_enough_on_the_seed() -> None:
    votes = Votes(np.array(["a", "a", "a", "b"]), np.array([0.1, 0.2, 0.3, 0.4]))
    assert max_entropy_for(0.75, votes, np.array(["a", "a", "b", "b"])) == 0.4
    assert max_entropy_for(1.0, votes, np.array(["a", "a", "b", "b"])) == 0.2
    assert max_entropy_for(1.0, votes, np.array(["b", "b", "b", "a"])) == -1.0


def test_the_kind_is_chosen_by_families_held_out() -> None:
    training_set = odd_family()
    candidates = candidates_of(Recipe(num_exemplars=20, num_folds=2))
    best, figures = choose(training_set, candidates)
    assert len(figures) == len(candidates)
    assert figures[candidates.index(best)] == max(figures)


def test_plain_lines_are_taken_as_they_are() -> None:
    texts = [prompt.text for prompt in authored_prompts() if prompt.family == PLAIN_FAMILY]
    assert len(texts) > 2000
    assert any("\n" in text for text in texts)


def test_authored_prompts_are_many_distinct_and_the_same_every_time() -> None:
    prompts = authored_prompts()
    assert prompts == authored_prompts()
    assert len({prompt.text for prompt in prompts}) > 0.99 * len(prompts)
    assert not [prompt.text for prompt in prompts if prompt.family == TEMPLATE_FAMILY and "{{" in prompt.text]


def test_a_line_with_slots_is_filled_differently_each_time() -> None:
    assert set(fillings("((a|b)) c", 20)) == {"a c", "b c"}
    assert fillings("plain\\nline", 5) == ["plain\nline"]


def test_an_explanation_names_the_nearest_training_prompts() -> None:
    told = explain(fake_artefact(), "select", np.tile(embed("select"), 3).astype(np.float32))
    assert told.probabilities[0][0] == "sql"
    assert told.neighbours[0].id == "b"
    assert told.doubt == ""
    assert "sure" in str(told)
    assert (
        "confidence"
        in explain(
            fake_artefact(abstain=AbstainRule(0.99, -1.0)),
            "sum select",
            np.tile(embed("sum select"), 3).astype(np.float32),
        ).doubt
    )


def write_scores(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_the_commands_run_on_a_users_own_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in (train_command, evaluate_command):
        monkeypatch.setattr(module, "load_encoder", lambda *_: FakeEncoder())
    rows = [
        {"prompt": f"{word} {chr(97 + i)}", "category": category}
        for category, word in (("m", "sum"), ("s", "select"))
        for i in range(20)
    ]
    prompts = write_scores(tmp_path / "p.jsonl", rows)
    run(train_command, [str(prompts), "--out", str(tmp_path / "router")])
    assert load_artefact(tmp_path / "router").categories == ("m", "s")
    run(
        evaluate_command,
        [str(prompts), "--artefact", str(tmp_path / "router"), "--json", str(tmp_path / "out.json")],
        {"cpu": "x"},
    )
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last == json.loads((tmp_path / "out.json").read_text())
    assert last["held_out"]["num_prompts"] == 40
    assert last["made_with"] == {"cpu": "x", "seed": 0}


def test_training_on_nothing_says_what_to_name() -> None:
    with pytest.raises(ValueError, match="nothing to train on"):
        run(train_command, [])


def run(module: Any, argv: list[str], *more: object) -> None:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    assert module.run(parser.parse_args(argv), *more) == 0
