"""Classifier, abstain rule, prompts and training, on small made-up data."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from router_fakes import FakeEncoder, toy_prompts
from sklearn.utils.estimator_checks import parametrize_with_checks

from router.encoding.cached_encoder import CachedEncoder
from router.model.abstain import AbstainRule, fit_abstain
from router.training.balance import report
from router.training.classifier import CategoryClassifier, CategoryNeighbours, fit_temperature
from router.training.duplicates import groups_of
from router.training.prompts import Prompt, read_prompts
from router.training.recipe import Recipe
from router.training.train import train


def what_neighbours_cannot(estimator: Any) -> dict[str, str]:
    is_neighbours = isinstance(estimator, CategoryNeighbours)
    why = "a prompt given twice takes two of the fifteen places; a prompt of weight two takes one"
    checks = ("check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data")
    return dict.fromkeys(checks, why) if is_neighbours else {}


@parametrize_with_checks([CategoryClassifier(), CategoryNeighbours()], expected_failed_checks=what_neighbours_cannot)
def test_the_classifiers_keep_scikit_learns_conventions(estimator: Any, check: Any) -> None:
    check(estimator)


def test_the_temperature_undoes_overconfidence() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 3))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(3, p=row) for row in chances])
    assert fit_temperature(logits * 5, labels) == pytest.approx(5, rel=0.1)


def test_at_most_the_target_share_abstains() -> None:
    rng = np.random.default_rng(0)
    confidence, similarity = rng.random(1000), rng.random(1000)
    for target in (0.0, 0.01, 0.05, 0.3):
        rule = fit_abstain(confidence, similarity, target)
        num_abstained = int((~rule.is_sure(confidence, similarity)).sum())
        assert target * 1000 - 2 <= num_abstained <= target * 1000


@pytest.mark.parametrize("confidence", [-0.1, 1.5, float("nan")])
def test_a_threshold_outside_zero_to_one_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="must lie in 0 to 1"):
        AbstainRule(confidence, 0)


def test_near_duplicates_share_a_group() -> None:
    first, second, other = groups_of(["What is 2 + 2?", "what is 14+3", "What was 2 + 2?"])
    assert first == second != other


def test_bad_rows_are_counted_and_named(tmp_path: Path) -> None:
    rows: list[object] = [
        {"prompt": "a", "category": "x"},
        {"prompt": "  ", "category": "x"},
        {"prompt": "b"},
        [1],
        {"messages": [{"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}], "category": "y"},
        {"messages": "[broken", "category": "y"},
        {"messages": [{"role": "user", "content": 7}], "category": "y"},
    ]
    with gzip.open(tmp_path / "p.jsonl.gz", "wt") as stream:
        stream.write("\n".join(json.dumps(row) for row in rows) + "\n{broken")
    found = read_prompts(tmp_path / "p.jsonl.gz")
    assert [prompt.text for prompt in found.prompts] == ["a", "c"]
    assert [row.where.split(":")[1] for row in found.bad_rows] == ["2", "3", "4", "6", "7", "8"]
    assert "p.jsonl.gz:3: no 'category'" in report(found)


def test_csv_reads_like_jsonl(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text('prompt,category\n"a, b",x\n')
    assert read_prompts(tmp_path).prompts == (Prompt("a, b", "x", id="p.csv:1"),)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no prompts there"):
        read_prompts(tmp_path)
    (tmp_path / "p.pkl").write_bytes(b"")
    with pytest.raises(ValueError, match="cannot read this"):
        read_prompts(tmp_path / "p.pkl")


def test_training_learns_and_is_deterministic() -> None:
    first, second = train(toy_prompts(), FakeEncoder()), train(toy_prompts(), FakeEncoder())
    assert first.metrics["out_of_fold_accuracy"] > 0.9
    for name, array in first.model.layer.arrays().items():
        np.testing.assert_array_equal(array, second.model.layer.arrays()[name])
    assert first.abstain == second.abstain
    assert first.data == {"user": {"rows": 60, "license": ""}}


def test_exemplars_are_bounded() -> None:
    assert len(train(toy_prompts(), FakeEncoder(), Recipe(num_exemplars=10)).exemplars) == 10


def test_one_category_or_too_few_prompts_are_refused() -> None:
    with pytest.raises(ValueError, match="needs two or more"):
        train(toy_prompts()[:30], FakeEncoder())
    with pytest.raises(ValueError, match="category 'law' has 1 distinct prompt"):
        train([*toy_prompts(), Prompt("sue", "law")], FakeEncoder())


def test_a_cached_text_is_encoded_once_ever(tmp_path: Path) -> None:
    encoder = FakeEncoder()
    first = CachedEncoder(encoder, tmp_path).encode(["a", "b", "a"])
    again = CachedEncoder(encoder, tmp_path).encode(["c", "b", "a"])
    assert encoder.calls == [["a", "b"], ["c"]]
    np.testing.assert_array_equal(first[[1, 0]], again[1:])
    np.testing.assert_allclose(again, FakeEncoder().encode(["c", "b", "a"]), atol=1e-3)
