"""A judgement: every method's score can be counted by hand on a small table."""

from __future__ import annotations

import numpy as np
import pytest

from router.mapping_study.judging.judgement import ABSTAINS, JudgedTable, best_in, columns_by_neighbours, judge
from router.mapping_study.score_table import Cost, ScoreTable

EXPERTS = ("big", "code", "math")
COSTS = {"big": Cost(70, 70), "code": Cost(7, 7), "math": Cost(3, 3)}


def judged_table(costs: dict[str, Cost] | None = None) -> JudgedTable:
    """Four prompts of code and four of math, each with its expert, and one on which the router abstains."""
    values = np.array([[1, 1, 0]] * 3 + [[0, 1, 0]] + [[1, 0, 1]] * 3 + [[0, 0, 1]] + [[1, 0, 0]], float)
    labels = np.array(["code"] * 4 + ["math"] * 4 + [ABSTAINS])
    table = ScoreTable(tuple(f"p{at}" for at in range(9)), ("any",) * 9, EXPERTS, values)
    return JudgedTable(table, labels, np.arange(9), COSTS if costs is None else costs)


def test_the_methods_stand_beside_each_other() -> None:
    data = judged_table()
    found = judge(data, np.array([1] * 4 + [2] * 4 + [1]), straight=np.zeros(9, int), learned_single=2)
    scores = {name: method.score * 9 for name, method in found.methods.items()}
    assert scores == pytest.approx(
        {
            "mapping": 8,
            "best single model, in hindsight": 7,
            "best single model of the learning table": 4,
            "neighbours straight to expert": 7,
            "category oracle": 9,
            "prompt oracle": 9,
            "random": 5,
        }
    )
    assert found.methods["best single model, in hindsight"].expert == "big"
    assert found.methods["mapping"].mean_active_b == pytest.approx((5 * 7 + 4 * 3) / 9)
    assert found.methods["prompt oracle"].mean_active_b == pytest.approx((4 * 7 + 4 * 3 + 70) / 9)  # of equals cheapest
    difference = found.differences["mapping - best single model, in hindsight"]
    assert difference.difference == pytest.approx(1 / 9)
    assert difference.low < 1 / 9 < difference.high
    abstaining = found.categories["abstains"]
    assert (abstaining.num_prompts, abstaining.expert, abstaining.best_expert) == (1, "code", "big")


def test_active_parameters_are_given_only_where_every_size_is_known() -> None:
    found = judge(judged_table({"code": Cost(7, 7)}), np.array([1] * 9))
    assert found.methods["mapping"].mean_active_b == 7
    assert found.methods["random"].mean_active_b is None
    assert found.methods["category oracle"].mean_active_b is None
    assert judge(judged_table({}), np.array([1] * 9)).methods["mapping"].mean_active_b is None


def test_neighbours_choose_among_the_experts_that_the_learning_table_measured() -> None:
    data = judged_table()
    vectors = np.array([[1.0, 0]] * 4 + [[0, 1.0]] * 5)
    learn = ScoreTable(("l", "m"), ("c", "d"), ("math", "code", "other"), np.array([[0, 1, 1], [np.nan, 0.1, 1]]))
    columns = columns_by_neighbours(data, vectors[:4], learn.rows(np.array([0])), np.array([[1.0, 0]]))
    assert columns.tolist() == [1, 1, 1, 1]
    columns = columns_by_neighbours(data, vectors[4:], learn.rows(np.array([1])), np.array([[0, 1.0]]))
    assert columns.tolist() == [1] * 5  # math was not measured there
    assert best_in(learn, EXPERTS) == 1
    alone = learn.only(["other"])
    assert best_in(alone, EXPERTS) is None
    with pytest.raises(ValueError, match="--learn: its experts are other; the judged table has none of them"):
        columns_by_neighbours(data, vectors, alone, vectors[:2])
