"""Difficulty is learned where the prompt shows it, and left out where it does not."""

from __future__ import annotations

import numpy as np
import pytest
from score_tables import clear_study_data

from router.mapping_study.half_split import StudyData, half_split
from router.mapping_study.score_table import ScoreTable
from router.spending_study.difficulty import chances_of, shifted, surface, within_category_auroc


def judged(shown: bool) -> tuple[StudyData, np.ndarray, np.ndarray]:
    """The first expert is right on some prompts of every category; one feature shows which, or is noise."""
    data = clear_study_data()
    rng = np.random.default_rng(1)
    easy = rng.random(120) < 0.5
    values = np.column_stack([easy, np.full(120, 0.5)]).astype(float)
    table = ScoreTable(data.table.prompts, data.table.categories, data.table.experts, values)
    features = np.column_stack([easy if shown else rng.random(120), rng.random(120)])
    return data._replace(table=table), features, easy


def test_what_the_prompt_shows_is_learned() -> None:
    data, features, _ = judged(shown=True)
    split = half_split(data, 0)
    found = chances_of(data, features, split, 0)
    right, truth = data.table.values[split.judge, 0], data.truth[split.judge]
    assert within_category_auroc(found.with_difficulty[:, 0], right, truth) == 1
    assert (within_category_auroc(found.by_category[:, 0], right, truth) or 0) < 0.75
    assert np.isfinite(found.shared_penalty)


def test_noise_is_not_taken_for_difficulty() -> None:
    data, features, _ = judged(shown=False)
    found = chances_of(data, features, half_split(data, 0), 0)
    assert np.abs(found.with_difficulty - found.by_category).max() < 0.1
    assert np.isinf(found.own_penalty) or found.own_penalty >= 100


def test_difficulty_moves_uncertain_chances_most_and_never_turns_experts_round() -> None:
    expected = np.array([[0.5, 0.9, 0.98]])
    harder = shifted(expected, np.array([[-0.1]]))
    drops = (expected - harder)[0]
    assert drops[0] > drops[1] > drops[2] > 0
    assert (np.diff(harder[0]) > 0).all()
    assert shifted(expected, np.zeros((1, 1))) == pytest.approx(expected)


def test_the_judged_scores_do_not_change_what_was_learned() -> None:
    data, features, _ = judged(shown=True)
    split = half_split(data, 0)
    values = data.table.values.copy()
    values[split.judge] = 1 - values[split.judge]
    turned = data._replace(table=ScoreTable(data.table.prompts, data.table.categories, data.table.experts, values))
    before, after = (chances_of(each, features, split, 0).with_difficulty for each in (data, turned))
    assert np.array_equal(before, after)


def test_a_category_with_few_of_either_is_not_ranked() -> None:
    few = np.array([1.0] * 4 + [0.0] * 6)
    assert within_category_auroc(few, few, np.array(["x"] * 10)) is None
    scores = np.array([1.0] * 5 + [0.0] * 5)
    both = within_category_auroc(np.r_[scores, 1 - few], np.r_[scores, few], np.array(["x"] * 10 + ["y"] * 10))
    assert both == 1  # y has four right answers


def test_the_surface_of_a_text() -> None:
    assert surface(["ab12"])[0] == pytest.approx([np.log(5), 0.5, 0, 0])
    assert surface(["é\n", ""])[0, 2:] == pytest.approx([0.5, np.log(2)])
