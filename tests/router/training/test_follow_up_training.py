"""The follow-up model learns from pairs of every language, the same every time."""

from __future__ import annotations

import numpy as np

from router.labelled.conversations import follow_ups, short_follow_ups
from router.model.follow_up import FollowUpModel
from router.training.follow_up_training import fitted, training_pairs


def test_pairs_are_the_same_every_time_and_of_both_kinds_in_every_language() -> None:
    pairs = training_pairs()
    assert pairs == training_pairs()
    num_follow_ups = sum(pair.stays for pair in pairs)
    assert num_follow_ups == len(follow_ups()) + len(short_follow_ups())
    assert 2 * num_follow_ups < len(pairs) - num_follow_ups < 3 * num_follow_ups


def test_what_stands_near_its_first_turn_is_learned_as_a_follow_up() -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(size=(400, 8))
    labels = np.arange(400) % 2 == 0
    second = np.where(labels[:, None], first + 0.3 * rng.normal(size=(400, 8)), rng.normal(size=(400, 8)))
    model = fitted(FollowUpModel(np.zeros(8), np.zeros(9), 0.0), first, second, labels)
    assert ((model.chances(first, second) > 0.5) == labels).mean() > 0.9
