"""What is timed is called as often and in the order that it should be."""

from __future__ import annotations

import torch

from coe.bench.harness import in_turns, median_seconds, operators


def test_contenders_take_turns_and_the_first_round_counts_for_none() -> None:
    called: list[str] = []

    def contender(name: str) -> int:
        called.append(name)
        return len(called)

    found = in_turns({"a": lambda: contender("a"), "b": lambda: contender("b")}, 2)
    assert called == ["a", "b"] * 3
    assert found == {"a": [3, 5], "b": [4, 6]}


def test_what_prepares_a_round_is_called_before_it() -> None:
    called: list[str] = []
    took_s = median_seconds(lambda: called.append("work"), 3, before=lambda: called.append("before"))
    assert called == ["before", "work"] * 3
    assert took_s > 0


def test_a_profile_names_operators_with_calls_of_one_step_the_longest_first() -> None:
    left = torch.ones(200, 200)
    found = operators(lambda: left @ left @ left, 4)
    assert {each.name: each.num_calls for each in found}["aten::mm"] == 2
    assert [each.own_ms for each in found] == sorted((each.own_ms for each in found), reverse=True)
