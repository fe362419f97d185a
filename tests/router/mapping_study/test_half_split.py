"""Half-splits keep groups on one side, and labels come from models that did not see them."""

from __future__ import annotations

import numpy as np
from score_tables import clear_study_data

from router.mapping_study.half_split import half_split, halves


def test_groups_stay_on_one_side_and_halves_are_seeded() -> None:
    groups = np.random.default_rng(0).integers(40, size=200)
    learn, judge = halves(groups, 3)
    assert set(learn) | set(judge) == set(range(200))
    assert not set(groups[learn]) & set(groups[judge])
    assert abs(len(learn) - 100) < 15
    np.testing.assert_array_equal(learn, halves(groups, 3)[0])
    assert learn.tolist() != halves(groups, 4)[0].tolist()


def test_labels_out_of_fold_are_not_the_training_labels() -> None:
    """Prompts that say nothing about their category: whoever looked at the labels would be right more often."""
    rng = np.random.default_rng(0)
    data = clear_study_data()
    noise = data._replace(vectors=rng.normal(size=data.vectors.shape))
    split = half_split(noise, 0)
    assert (split.learn_labels == noise.truth[split.learn]).mean() < 0.7
