"""How requests spread over experts: Zipf's law, which benchmarks draw their streams from."""

from __future__ import annotations

__all__ = ["zipf"]


def zipf(exponent: float, num_experts: int) -> tuple[float, ...]:
    """Return shares that sum to one: the k-th expert's is proportional to k ** -exponent."""
    weights = [rank**-exponent for rank in range(1, num_experts + 1)]
    return tuple(weight / sum(weights) for weight in weights)
