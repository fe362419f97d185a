"""Choices at equal cost: each prompt's expert by expected score less a price of active parameters.

Owns the price that a mean of active parameters needs. Prices are found on the prompts that are asked, from expected
scores alone, so that methods are compared at one cost. Pure. Knows nothing about prompts or where scores come from.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["budgets_between", "choose"]

Floats = NDArray[np.floating]
NUM_HALVINGS = 40


def choose(expected: Floats, active_b: Floats, max_mean_active_b: float) -> NDArray[np.intp]:
    """Return (prompts,): the columns of the best experts whose mean of active parameters is within the limit.

    `expected` is (prompts, experts), `active_b` (experts,).

    Raises:
        ValueError: the cheapest expert is above the limit.
    """
    if active_b.min() > max_mean_active_b:
        raise ValueError(f"a mean of {max_mean_active_b:g} B: the cheapest expert has {active_b.min():g} B")
    low, high = 0.0, 1.0
    while priced(expected, active_b, high)[1] > max_mean_active_b:
        low, high = high, 2 * high
    if priced(expected, active_b, low)[1] <= max_mean_active_b:
        return priced(expected, active_b, low)[0]
    for _ in range(NUM_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if priced(expected, active_b, middle)[1] <= max_mean_active_b else (middle, high)
    return priced(expected, active_b, high)[0]


def priced(expected: Floats, active_b: Floats, price: float) -> tuple[NDArray[np.intp], float]:
    """Return the columns at a price per billion, and their mean of active parameters; of equals the cheapest."""
    columns = (expected - (price + 1e-9) * active_b).argmax(axis=1)
    return columns, float(active_b[columns].mean())


def budgets_between(active_b: Floats, num: int) -> list[float]:
    """Return limits between the cheapest and the dearest expert, both left out, evenly spaced in their logarithm."""
    found: list[float] = np.geomspace(active_b.min(), active_b.max(), num + 2)[1:-1].tolist()
    return found
