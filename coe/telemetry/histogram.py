"""Observations in seconds by bounds, frozen. Imports nothing: what counts before the engine is there may use it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SECONDS", "Histogram"]

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Observations in seconds: `counts[i]` are at most `bounds[i]` (not cumulative), the last count is above all."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum_s: float
