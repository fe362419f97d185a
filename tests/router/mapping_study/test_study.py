"""A study judges what was learned on the other half, and nothing leaks."""

from __future__ import annotations

import pytest
from score_tables import clear_study_data

from router.mapping_study.half_split import half_split
from router.mapping_study.score_table import ScoreTable
from router.mapping_study.study import cheapest_share, held_out_curve, study_of


def test_with_clear_categories_the_learned_router_equals_the_true_one_and_beats_any_single() -> None:
    data = clear_study_data()
    study = study_of(data, [half_split(data, seed) for seed in range(3)])
    assert study.methods["learned category"].score == study.methods["prompt oracle"].score == 1
    assert study.methods["learned probabilities"].score == 1
    assert study.methods["random"].score == 0.5
    assert study.methods["learned category"].mean_active_b == pytest.approx(1.5, abs=0.1)
    assert study.differences["learned category - true category > -0.003"].difference == 0
    assert study.differences["learned category - best single model > 0"].p < 0.01
    assert study.num_prompts == 120


def test_a_study_repeats_itself() -> None:
    data = clear_study_data()
    first, second = (study_of(data, [half_split(data, seed) for seed in range(2)]) for _ in range(2))
    assert first == second


def test_what_was_learned_does_not_depend_on_the_judged_scores() -> None:
    """Turning the judged half's scores round must not change a single choice: then every score turns, too."""
    data = clear_study_data()
    split = half_split(data, 0)
    values = data.table.values.copy()
    values[split.judge] = 1 - values[split.judge]
    turned = data._replace(table=ScoreTable(data.table.prompts, data.table.categories, data.table.experts, values))
    for name in ("learned category", "learned probabilities", "true category", "neighbours straight to expert"):
        before, after = (study_of(d, [half_split(d, 0)]).methods[name].score for d in (data, turned))
        assert before == pytest.approx(1 - after)


def test_a_curve_costs_what_it_may_and_ends_at_the_best() -> None:
    data = clear_study_data()
    splits = [half_split(data, seed) for seed in range(2)]
    curve = held_out_curve(data, splits, 4)
    assert [round(point.max_mean_active_b, 2) for point in curve] == [1.0, 1.26, 1.59, 2.0]
    assert curve[0].mean_active_b == 1.0
    assert curve[-1].score == 1
    assert cheapest_share(curve, 0.0) == curve[0]
    assert cheapest_share(curve, 1.1) is None
