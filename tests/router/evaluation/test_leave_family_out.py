"""A left-out family is never seen by the model that judges it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from router_fakes import FakeEncoder, odd_family_set

from router.evaluation.leave_family_out import (
    Fold,
    OutOfScopePrompts,
    batches_of,
    chosen_by_others,
    fold_accuracies,
    leave_family_out,
    mean_over_topics,
    out_of_scope_report,
    summarise,
)
from router.training.recipe import Recipe
from router.training.training_set import TrainingSet


@pytest.mark.parametrize("recipe", [Recipe(num_exemplars=20), Recipe(num_exemplars=20, tf_idf_weight=0)])
def test_a_family_is_judged_by_a_model_that_never_saw_it(recipe: Recipe) -> None:
    report = summarise(leave_family_out(odd_family_set(), [Fold("sql", "odd")], recipe))
    assert report.folds == {"sql: odd": 0.0}
    assert report.score == report.topics["sql"] == 0.0
    assert fold_accuracies(odd_family_set(), [Fold("sql", "odd")], [recipe]).tolist() == [[0.0]]


def test_a_fold_takes_the_recipe_that_the_others_chose() -> None:
    """Recipe 0 is best on the first fold only; judged by the others, every fold but theirs takes recipe 1."""
    accuracies = np.array([[1.0, 0.2, 0.2], [0.5, 0.6, 0.6]])
    assert chosen_by_others(accuracies, ["a", "b", "c"]).tolist() == [0.5, 0.2, 0.2]
    assert mean_over_topics(np.array([1.0, 0.0, 0.5]), ["a", "a", "b"]) == 0.5


def test_out_of_scope_prompts_are_compared_with_left_out_rows_of_like_length() -> None:
    texts = ("teal navy pink gold", "gold gold gold grey")
    prompts = OutOfScopePrompts(texts, FakeEncoder().encode(texts))
    left_out = leave_family_out(odd_family_set(), [Fold("sql", "b"), Fold("sql", "odd")], Recipe(), prompts)
    report = out_of_scope_report(left_out)
    assert summarise(left_out).topics["sql"] == np.mean(list(summarise(left_out).folds.values()))
    assert report.num_pairs == 2
    assert report.length_auroc in (0.25, 0.5, 0.75)


def test_families_that_are_left_out_together_have_no_topic_in_common() -> None:
    folds = [Fold("a", "1"), Fold("a", "2"), Fold("b", "1"), Fold("b", "3"), Fold("c", "4"), Fold("c", "5")]
    batches = batches_of(folds)
    assert sorted(fold for batch in batches for fold in batch) == sorted(folds)
    assert len(batches) == 2
    for batch in batches:
        assert len({fold.topic for fold in batch}) == len(batch)
    assert [Fold("a", "1"), Fold("b", "1")] == [fold for batch in batches for fold in batch if fold.family == "1"]


def test_near_duplicates_of_a_left_out_family_are_left_out_too() -> None:
    """The same words stand in another family: a model that kept them would get the odd family right."""
    odd = odd_family_set()
    copies = [replace(prompt, family="copy") for prompt in odd.prompts if prompt.family == "odd"]
    both = TrainingSet.of([*odd.prompts, *copies], FakeEncoder())
    assert summarise(leave_family_out(both, [Fold("sql", "odd")], Recipe(tf_idf_weight=0))).score == 0.0
