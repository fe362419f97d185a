"""Hidden units learn what no linear layer can, the same every time, and leave torch's random stream alone."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from router.training.hidden_layer import fit_hidden


def corners(num: int) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Exclusive or of the signs of the first two of eight coordinates."""
    vectors = np.random.default_rng(0).normal(size=(num, 8)).astype(np.float32)
    return vectors, (vectors[:, 0] * vectors[:, 1] > 0).astype(np.intp)


def test_it_learns_what_is_not_linear_and_the_same_every_time() -> None:
    vectors, labels = corners(20_000)
    fitted = [fit_hidden(vectors, labels, np.ones(len(labels)), num_units=64, seed=0) for _ in range(2)]
    logits = fitted[0].logits(vectors)
    assert (logits.argmax(axis=1) == labels).mean() > 0.9
    np.testing.assert_array_equal(logits, fitted[1].logits(vectors))


def test_a_row_without_weight_teaches_nothing() -> None:
    vectors, labels = corners(20_000)
    weights = np.where(labels == 1, 0.0, 1.0)
    logits = fit_hidden(vectors, labels, weights, num_units=16, seed=0).logits(vectors)
    assert (logits.argmax(axis=1) == 0).mean() > 0.95


def test_torchs_random_stream_is_left_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    vectors, labels = corners(300)
    fit_hidden(vectors, labels, np.ones(300), num_units=4, seed=0)
    torch.testing.assert_close(torch.rand(3), expected)
