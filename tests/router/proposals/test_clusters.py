"""Clusters are groups by direction, as many as there are or are asked for; tiny ones are folded."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from router.proposals.clusters import FOLDED, clustered, folded


def rays(num_groups: int, size: int = 30) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Vectors of all lengths around a direction for each group."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(num_groups), size)
    vectors = np.eye(num_groups, 40)[groups] + 0.05 * rng.normal(size=(len(groups), 40))
    return vectors * rng.uniform(0.5, 5, (len(groups), 1)), groups


@pytest.mark.parametrize("num_groups", [5, 9])
def test_the_number_is_found_and_groups_are_directions(num_groups: int) -> None:
    vectors, groups = rays(num_groups)
    assert adjusted_rand_score(groups, clustered(vectors)) == 1.0


def test_as_many_as_asked_for_and_the_same_each_time() -> None:
    vectors, _ = rays(5)
    found = clustered(vectors, 3)
    assert len(np.unique(found)) == 3
    assert (found == clustered(vectors, 3)).all()


def test_too_few_prompts_are_told() -> None:
    with pytest.raises(ValueError, match=r"19 distinct prompts .*20 are needed for 4 categories"):
        clustered(np.eye(19))
    with pytest.raises(ValueError, match="50 are needed for 10 categories; add prompts or ask for fewer"):
        clustered(np.eye(19), 10)


def test_tiny_clusters_are_folded_and_others_numbered_by_size() -> None:
    labels = np.array([0] * 5 + [1] * 2 + [2] * 20)
    assert folded(labels).tolist() == [1] * 5 + [FOLDED] * 2 + [0] * 20
