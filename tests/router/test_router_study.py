"""Half-splits judge what was learned on the other half, and nothing leaks; the commands run on a user's own files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from router_fakes import FakeEncoder, fake_artefact

from router.mapping_study import frontier_command, map_command
from router.mapping_study.expected_scores import fit_expected, regularised
from router.mapping_study.half_split import StudyData, half_split, halves
from router.mapping_study.score_table import ScoreTable, costs_of
from router.mapping_study.study import cheapest_share, held_out_curve, study_of

WORDS = ("red", "green", "blue", "pink", "gold")


def clear_data() -> StudyData:
    """A prompt's first word is its category, and each category has an expert that is always right on it."""
    rng = np.random.default_rng(0)
    labels = ["math", "sql"] * 60
    texts = [f"{'sum' if label == 'math' else 'select'} {rng.choice(WORDS)}" for label in labels]
    values = np.array([[1.0, 0.0] if label == "math" else [0.0, 1.0] for label in labels])
    table = ScoreTable(tuple(texts), tuple(labels), ("a-1b", "b-2b"), values)
    return StudyData(table, FakeEncoder().encode(texts)[:, :16], np.arange(120), costs_of(table.experts))


def test_groups_stay_on_one_side_and_halves_are_seeded() -> None:
    groups = np.random.default_rng(0).integers(40, size=200)
    learn, judge = halves(groups, 3)
    assert set(learn) | set(judge) == set(range(200))
    assert not set(groups[learn]) & set(groups[judge])
    assert abs(len(learn) - 100) < 15
    np.testing.assert_array_equal(learn, halves(groups, 3)[0])
    assert learn.tolist() != halves(groups, 4)[0].tolist()


def test_with_clear_categories_the_learned_router_equals_the_true_one_and_beats_any_single() -> None:
    data = clear_data()
    study = study_of(data, [half_split(data, seed) for seed in range(3)])
    assert study.methods["learned category"].score == study.methods["prompt oracle"].score == 1
    assert study.methods["learned probabilities"].score == 1
    assert study.methods["random"].score == 0.5
    assert study.methods["learned category"].mean_active_b == pytest.approx(1.5, abs=0.1)
    assert study.differences["learned category - true category > -0.003"].difference == 0
    assert study.differences["learned category - best single model > 0"].p < 0.01
    assert study.num_prompts == 120


def test_a_study_repeats_itself() -> None:
    data = clear_data()
    first, second = (study_of(data, [half_split(data, seed) for seed in range(2)]) for _ in range(2))
    assert first == second


def test_what_was_learned_does_not_depend_on_the_judged_scores() -> None:
    """Turning the judged half's scores round must not change a single choice: then every score turns, too."""
    data = clear_data()
    split = half_split(data, 0)
    values = data.table.values.copy()
    values[split.judge] = 1 - values[split.judge]
    turned = data._replace(table=ScoreTable(data.table.prompts, data.table.categories, data.table.experts, values))
    for name in ("learned category", "learned probabilities", "true category", "neighbours straight to expert"):
        before, after = (study_of(d, [half_split(d, 0)]).methods[name].score for d in (data, turned))
        assert before == pytest.approx(1 - after)


def test_labels_out_of_fold_are_not_the_training_labels() -> None:
    """Prompts that say nothing about their category: whoever looked at the labels would be right more often."""
    rng = np.random.default_rng(0)
    data = clear_data()
    noise = data._replace(vectors=rng.normal(size=data.vectors.shape))
    split = half_split(noise, 0)
    assert (split.learn_labels == noise.truth[split.learn]).mean() < 0.7


def test_a_curve_costs_what_it_may_and_ends_at_the_best() -> None:
    data = clear_data()
    splits = [half_split(data, seed) for seed in range(2)]
    curve = held_out_curve(data, splits, 4)
    assert [round(point.max_mean_active_b, 2) for point in curve] == [1.0, 1.26, 1.59, 2.0]
    assert curve[0].mean_active_b == 1.0
    assert curve[-1].score == 1
    assert cheapest_share(curve, 0.0) == curve[0]
    assert cheapest_share(curve, 1.1) is None


def test_expected_scores_undo_what_a_classifier_mixes_up() -> None:
    """A classifier that is right nine times in ten: the regression finds the true means, a plain average does not."""
    rng = np.random.default_rng(0)
    truth = rng.integers(2, size=20_000)
    probabilities = np.where((truth[:, None] == np.arange(2)), 0.9, 0.1)
    probabilities[rng.random(20_000) < 0.1] = probabilities[rng.random(20_000) < 0.1].mean()
    values = np.where(truth[:, None] == np.arange(2), 0.8, 0.2)
    found = regularised(probabilities, values, 1.0)
    np.testing.assert_allclose(found.of(np.array([[0.9, 0.1]])), [[0.8, 0.2]], atol=0.05)


def test_a_strong_penalty_draws_everybody_to_the_overall_mean() -> None:
    rng = np.random.default_rng(0)
    probabilities, values = rng.dirichlet(np.ones(3), 100), rng.random((100, 2))
    expected = regularised(probabilities, values, 1e9).of(probabilities)
    np.testing.assert_allclose(expected, np.tile(values.mean(axis=0), (100, 1)), atol=1e-6)
    assert fit_expected(probabilities, values, np.arange(100) % 5).penalty in (3.0, 10.0, 30.0, 100.0)


def test_map_and_frontier_run_on_a_users_own_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in (map_command, frontier_command):
        monkeypatch.setattr(module, "load_encoder", lambda *_: FakeEncoder())
    path = write_table(tmp_path / "s.jsonl")
    assert command("map", str(path), "--json", str(tmp_path / "map.json")) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told == json.loads((tmp_path / "map.json").read_text())
    assert told["mapping"] == {"math": "x-7b", "sql": "y-2b"}
    cell = told["expected_scores"]["math"]["x-7b"]
    assert (cell["score"], cell["num_prompts"]) == (1, 20)
    assert cell["low"] < 1 == cell["high"]
    plot = tmp_path / "frontier.png"
    assert command("frontier", str(path), "--study", "2", "--curve", "3", "--plot", str(plot)) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["points"][-1]["mapping"] == {"math": "x-7b", "sql": "y-2b"}
    methods = told["study"]["methods"]
    assert methods["category oracle"]["score"] == pytest.approx(methods["prompt oracle"]["score"])
    assert told["seeds"] == [0, 1]
    assert told["provenance"] == {"num_cpus": 2}
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_map_counts_categories_as_the_router_sees_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table calls its prompts what it likes: the router's labels and frequencies are what is learned from."""
    for module in (map_command, frontier_command):
        monkeypatch.setattr(module, "load_encoder", lambda *_: FakeEncoder())
    fake_artefact().save(tmp_path / "router")
    rows = [row(f"{word} {i}", "mine") for i, word in enumerate(["sum"] * 3 + ["select"])]
    path = tmp_path / "s.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    command("map", str(path), "--artefact", str(tmp_path / "router"))
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["frequencies"] == {"math": 0.75, "sql": 0.25}
    assert "abstain" in " ".join(told["notes"])


def test_a_study_of_a_table_without_a_complete_row_says_so(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text("\n".join(map(json.dumps, [row("p", "c", x=None), row("q", "c", y=None)])))
    with pytest.raises(ValueError, match="no prompt has scores of every expert"):
        command("frontier", str(path), "--study")


def test_a_study_of_too_few_prompts_names_the_category(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (map_command, frontier_command):
        monkeypatch.setattr(module, "load_encoder", lambda *_: FakeEncoder())
    path = tmp_path / "s.jsonl"
    rows = [row(f"{word} {i}", "m") for i, word in enumerate(WORDS * 2)] + [row("select", "s")]
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(ValueError, match=r"category 'm' has 5 distinct"):
        command("frontier", str(path), "--study")


def test_experts_can_be_named_or_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_table(tmp_path / "s.jsonl")
    for argv in (("--without", "x-7b"), ("--expert", "y-2b"), ("--max-model-b", "3")):
        command("map", str(path), *argv)
        assert set(json.loads(capsys.readouterr().out.splitlines()[-1])["mapping"].values()) == {"y-2b"}
    with pytest.raises(ValueError, match="expert 'z': the table has no scores of it"):
        command("map", str(path), "--without", "z")


def test_a_table_of_experts_without_a_size_asks_for_costs(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text(json.dumps({"prompt": "p", "category": "c", "scores": {"phi": 1}}))
    with pytest.raises(ValueError, match="no expert of a known size"):
        command("map", str(path))


def row(prompt: str, category: str, x: float | None = 1.0, y: float | None = 0.5) -> dict[str, object]:
    return {"prompt": prompt, "category": category, "scores": {"x-7b": x, "y-2b": y}}


def write_table(path: Path) -> Path:
    """Forty prompts: x-7b is right on math only, y-2b half right on everything, words for numbers as numbers group."""
    rows = [
        row(f"{start} {one} {two}", category, x=float(category == "math"))
        for category, start in (("math", "sum"), ("sql", "select"))
        for one in WORDS
        for two in WORDS[:4]
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def command(verb: str, *argv: str) -> int:
    parser = argparse.ArgumentParser()
    if verb == "map":
        map_command.add_arguments(parser)
        return map_command.run(parser.parse_args(argv))
    frontier_command.add_arguments(parser)
    return frontier_command.run(parser.parse_args(argv), {"num_cpus": 2})
