"""A row's figures from what was timed."""

from __future__ import annotations

import pytest

from coe.bench.switch.case import Case


def test_speed_and_its_share_of_the_ceiling_are_those_of_medians() -> None:
    case = Case("disk", 2000.0, ready_s=[1.0, 2.0, 9.0], first_token_s=[2.5, 2.5, 2.5], num_bytes=[2000] * 3)
    found = case.figures(prefill_s=1.0)
    assert (found["ready_ms_p50"], found["ready_ms_p95"], found["num_runs"]) == (2000.0, 9000.0, 3)
    assert (found["bytes_per_s"], found["fraction_of_ceiling"]) == (1000, 0.5)


@pytest.mark.parametrize(("first_token_s", "hidden"), [(3.0, 0.0), (2.0, 1.0), (2.5, 0.5), (4.0, 0.0), (1.0, 1.0)])
def test_what_is_hidden_lies_between_the_sum_and_the_larger_of_load_and_prefill(
    first_token_s: float, hidden: float
) -> None:
    case = Case("disk", ready_s=[2.0], first_token_s=[first_token_s], num_bytes=[2000])
    assert case.figures(prefill_s=1.0)["hidden_share"] == hidden


def test_a_case_that_moves_nothing_has_neither_speed_nor_hidden_share() -> None:
    found = Case("device hit", 2000.0, ready_s=[0.001], first_token_s=[0.1]).figures(prefill_s=0.1)
    assert (found["bytes"], found["bytes_per_s"], found["fraction_of_ceiling"]) == (0, None, None)
    assert found["hidden_share"] is None
