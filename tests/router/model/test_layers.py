"""Layers: numbered anew for more categories, and back from their arrays."""

from __future__ import annotations

import numpy as np
import pytest

from router.model.layers import HiddenLayer, Layer, LinearLayer, NeighbourLayer, layer_from_arrays

VECTORS = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
LINEAR = LinearLayer(np.eye(2, 4, dtype=np.float32), np.array([0.5, 0.0], np.float32))
ROWS = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)
HIDDEN = HiddenLayer(
    LinearLayer(np.eye(3, 4, dtype=np.float32), np.zeros(3, np.float32)), LinearLayer(np.eye(2, 3), np.zeros(2))
)
VOTES = NeighbourLayer(ROWS, np.array([0, 0, 0, 1, 1, 1]), np.ones(6, np.float32), 3, 2)


@pytest.mark.parametrize("layer", [LINEAR, HIDDEN, VOTES])
def test_more_categories_keep_the_order_of_the_known_ones_and_never_win(layer: Layer) -> None:
    wider = layer.renumbered(np.array([2, 0]), 4).logits(VECTORS)
    known = layer.logits(VECTORS)
    np.testing.assert_allclose(wider[:, [2, 0]], known, atol=1e-6)
    assert (wider[:, [1, 3]].max(axis=1) < known.max(axis=1)).all()


def test_a_vector_gets_the_votes_of_its_neighbours() -> None:
    assert VOTES.logits(ROWS).argmax(axis=1).tolist() == VOTES.labels.tolist()  # itself at distance 0
    np.testing.assert_allclose(VOTES.logits(5 * ROWS), VOTES.logits(ROWS), atol=1e-4)  # length does not matter


@pytest.mark.parametrize("layer", [LINEAR, HIDDEN, VOTES])
def test_a_layer_comes_back_from_its_arrays(layer: Layer) -> None:
    again = layer_from_arrays(layer.arrays() | {"something": np.zeros(1)}, 2)
    assert type(again) is type(layer)
    asked = VECTORS[::-1] + VECTORS  # near no row, so that half precision moves no vote
    np.testing.assert_allclose(again.logits(asked), layer.logits(asked), atol=0.02)
    with pytest.raises(KeyError):
        layer_from_arrays({"something": np.zeros(1)}, 2)
