"""Fitting a layer of hidden units over embeddings.

Owns the training: dropout, label smoothing and one cycle of the learning rate (Smith, arXiv 1708.07120), over a fixed
number of passes. Deterministic for a seed and a torch version. Knows nothing about prompts.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from router.model.layers import HiddenLayer, LinearLayer

__all__ = ["fit_hidden"]

Floats = NDArray[np.floating]
INPUT_DROPOUT, UNIT_DROPOUT = 0.1, 0.6
LEARNING_RATE, WEIGHT_DECAY, SMOOTHING = 2e-3, 0.05, 0.05
NUM_PASSES = 4
BATCH = 256


def fit_hidden(
    vectors: Floats, labels: NDArray[np.integer], weights: NDArray[np.float64], *, num_units: int, seed: int
) -> HiddenLayer:
    """Return the layer of (rows, dims) vectors whose values are small, (rows,) labels from 0 on and (rows,) weights."""
    scale = float(1 / max(1e-9, np.sqrt((vectors**2).mean())))  # inputs of variance 1
    inputs = torch.from_numpy(np.ascontiguousarray(vectors, np.float32)) * scale
    targets, importance = torch.from_numpy(labels.astype(np.int64)), torch.from_numpy(weights.astype(np.float32))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inner = torch.nn.Linear(vectors.shape[1], num_units)
        outer = torch.nn.Linear(num_units, int(labels.max()) + 1)
        optimise(inner, outer, inputs, targets, importance)
    return HiddenLayer(layer_of(inner, scale), layer_of(outer, 1.0))


def optimise(
    inner: torch.nn.Linear,
    outer: torch.nn.Linear,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    importance: torch.Tensor,
) -> None:
    """Fit both matrices in place."""
    parameters = [*inner.parameters(), *outer.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    num_steps = NUM_PASSES * -(-len(targets) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=num_steps + 1, pct_start=0.1)
    for _ in range(NUM_PASSES):
        for rows in torch.randperm(len(targets)).split(BATCH):
            units = F.gelu(inner(F.dropout(inputs[rows], INPUT_DROPOUT)))
            logits = outer(F.dropout(units, UNIT_DROPOUT))
            losses = F.cross_entropy(logits, targets[rows], reduction="none", label_smoothing=SMOOTHING)
            optimiser.zero_grad()
            (losses * importance[rows]).mean().backward()
            optimiser.step()
            schedule.step()


def layer_of(linear: torch.nn.Linear, scale: float) -> LinearLayer:
    """Return the matrix for inputs that are not scaled."""
    return LinearLayer(linear.weight.detach().numpy() * np.float32(scale), linear.bias.detach().numpy().copy())
