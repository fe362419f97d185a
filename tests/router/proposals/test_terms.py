"""Terms are characteristic of a group: not what every group has, nor what one text repeats."""

from __future__ import annotations

import numpy as np

from router.proposals.terms import terms_of


def test_terms_tell_groups_apart() -> None:
    wine = ["koji vino cijeni", "koji miris vino", "koji vino tokaj tokaj tokaj"]
    tea = ["koji čaj pije ona", "koji zeleni čaj", "koji čaj piju svi"]
    first, second = terms_of([*wine, *tea, "vino čaj vino čaj"], np.array([0, 0, 0, 1, 1, 1, -1]))
    assert first == ["vino"]
    assert second == ["čaj"]


def test_a_group_without_words_has_no_terms() -> None:
    assert terms_of(["1 2", "3 4", "tea pot", "tea cup"], np.array([0, 0, 1, 1])) == [[], ["tea"]]
