"""Neighbours label what is near, as surely as was asked."""

from __future__ import annotations

import numpy as np
from router_fakes import FakeEncoder, toy_prompts

from router.labelled.prompts import Prompt
from router.training.self_labelling import Votes, max_entropy_for, self_labelled


def test_neighbours_label_what_is_near_and_leave_near_duplicates_alone() -> None:
    seed = toy_prompts()
    unlabelled = [Prompt(text, "?") for text in ("sum red sum", "select gold select", seed[0].text)]
    labelled = self_labelled(seed, unlabelled, FakeEncoder())
    assert {prompt.text: prompt.category for prompt in labelled} == {"sum red sum": "math", "select gold select": "sql"}


def test_sure_means_right_often_enough_on_the_seed() -> None:
    votes = Votes(np.array(["a", "a", "a", "b"]), np.array([0.1, 0.2, 0.3, 0.4]))
    assert max_entropy_for(0.75, votes, np.array(["a", "a", "b", "b"])) == 0.4
    assert max_entropy_for(1.0, votes, np.array(["a", "a", "b", "b"])) == 0.2
    assert max_entropy_for(1.0, votes, np.array(["b", "b", "b", "a"])) == -1.0
