"""Out-of-scope prompts are compared with in-scope prompts of like length."""

from __future__ import annotations

import numpy as np

from router.evaluation.out_of_scope import auroc, is_personal, length_matched


def test_auroc_is_one_when_every_out_of_scope_prompt_is_below() -> None:
    assert auroc(np.array([0.9, 0.8]), np.array([0.1])) == 1
    assert auroc(np.array([0.5]), np.array([0.5])) == 0.5


def test_pairs_are_of_like_length_and_no_row_is_used_twice() -> None:
    assert sorted(length_matched([10, 100, 11], [10, 12, 500])) == [(0, 0), (2, 1)]
    assert is_personal("how many steps have i taken")
    assert not is_personal("who wrote hamlet")
