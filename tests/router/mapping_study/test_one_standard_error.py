"""Differences within noise go to fewer experts, and clear gains do not."""

from __future__ import annotations

import numpy as np

from router.mapping_study.one_standard_error import fewest_experts
from router.mapping_study.score_table import Cost, ScoreTable


def noisy_table(extra_wins: int) -> tuple[ScoreTable, np.ndarray, dict[str, Cost]]:
    """`one` has category a; on the 200 prompts of b, `two` loses 40 to `one` and wins 40 and some more."""
    labels = np.repeat(np.array(["a", "b"]), 200)
    one = np.r_[np.ones(200), np.ones(100), np.zeros(100)]
    two = np.r_[np.zeros(200), np.zeros(40), np.ones(60), np.ones(40 + extra_wins), np.zeros(60 - extra_wins)]
    table = ScoreTable(tuple(map(str, range(400))), tuple(labels.tolist()), ("one", "two"), np.stack([one, two], 1))
    return table, labels, {"one": Cost(1, 1), "two": Cost(1, 1)}


def test_ties_within_noise_go_to_fewer_experts_and_clear_gains_do_not() -> None:
    """The standard error is the square root of 80 in 400, 0.022; 4 more wins are a gain of 0.01, 60 of 0.15."""
    assert fewest_experts(*noisy_table(4)).num_experts == 1
    assert fewest_experts(*noisy_table(4), standard_errors=0.0).num_experts == 2
    assert fewest_experts(*noisy_table(60)).num_experts == 2
