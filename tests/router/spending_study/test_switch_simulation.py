"""The simulated memory evicts as it says, and rules see what is resident."""

from __future__ import annotations

import numpy as np
import pytest
from score_tables import clear_study_data

from router.mapping import MappingFile
from router.mapping_study.half_split import half_split
from router.mapping_study.learned_mapping import Budget
from router.spending_study.switch_simulation import (
    MAPPED,
    SINGLE,
    Asked,
    Memory,
    asked,
    learned_file,
    order,
    rules,
    simulate,
)

EXPERTS = ("a", "b", "c")
SIZES = dict.fromkeys(EXPERTS, 10.0)
LEARNED = MappingFile({"x": "a", "y": "b"}, {"x": {"a": 0.6, "b": 0.5}, "y": {"a": 0.2, "b": 0.9}}, {"a": 1, "b": 1})
X, Y = Asked(0, {"x": 1.0, "y": 0.0}, "a"), Asked(1, {"x": 0.0, "y": 1.0}, "b")


def test_the_least_recently_used_expert_makes_room() -> None:
    memory = Memory(SIZES, 20, 5)
    assert [memory.use(name) for name in "abab"] == [2, 2, 0, 0]
    assert memory.use("c") == 2
    assert memory.snapshot().load_s == {"a": 2, "b": 0, "c": 0}


def test_an_expert_larger_than_the_memory_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"memory of 9 bytes: 'a' takes 10"):
        Memory(SIZES, 9, 5)


@pytest.mark.parametrize(
    ("rule", "columns", "load_s"),
    [
        (MAPPED, [1, 0, 1], [2, 2, 2]),
        (SINGLE, [2, 2, 2], [2, 0, 0]),
        ("score_per_second 0.04", [1, 0, 1], [2, 2, 2]),  # a gains .1 for .08
        ("score_per_second 0.06", [1, 1, 1], [2, 0, 0]),
        ("resident within 0.1", [1, 1, 1], [2, 0, 0]),
        ("resident within 0.05", [1, 0, 1], [2, 2, 2]),
    ],
)
def test_a_rule_pays_for_the_loads_that_it_chooses(rule: str, columns: list[int], load_s: list[float]) -> None:
    found = rules(LEARNED, "c", (0.04, 0.06), (0.1, 0.05))
    ran = simulate([Y, X, Y], found[rule], Memory(SIZES, 10, 5), EXPERTS)
    assert (ran.columns.tolist(), ran.load_s.tolist(), ran.rows.tolist()) == (columns, load_s, [1, 0, 1])


def test_runs_hold_one_category_and_every_prompt_is_asked_once() -> None:
    split = half_split(clear_study_data(), 0)
    places = order(split, 5, 0)
    assert sorted(places) == list(range(len(split.judge)))
    changes = [
        int((labels[1:] != labels[:-1]).sum()) for labels in (split.judge_labels[order(split, n, 0)] for n in (1, 5))
    ]
    assert changes[1] < changes[0] / 2


def test_what_is_learned_is_what_map_would_write() -> None:
    data = clear_study_data()
    split = half_split(data, 0)
    learned = learned_file(data, split, Budget())
    assert learned.mapping == {"math": "a-1b", "sql": "b-2b"}
    assert learned.expected_scores["math"] == {"a-1b": 1.0, "b-2b": 0.0}
    prompts = asked(split, learned)
    assert [prompt.row for prompt in prompts] == split.judge.tolist()
    assert {prompt.mapped for prompt in prompts} == {"a-1b", "b-2b"}
    assert np.allclose([sum(prompt.probabilities.values()) for prompt in prompts], 1)
