"""Paired bootstrap intervals: how sure a mean difference between two systems on the same rows is.

Owns the resampling (seeded percentile bootstrap, Efron 1979; rows are resampled within their domain). Knows nothing
about what was scored.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NUM_RESAMPLES = 10_000
LEVEL = 0.95
CHUNK = 500  # resamples at a time, so that memory stays small


class Interval(NamedTuple):
    """A mean with the bounds of its 95 % interval."""

    mean: float
    low: float
    high: float


def resampled_means(values: NDArray[np.float64], rng: np.random.Generator, num_resamples: int) -> NDArray[np.float64]:
    """Means of as many samples with replacement, each as large as `values`."""
    parts = []
    for start in range(0, num_resamples, CHUNK):
        shape = (min(CHUNK, num_resamples - start), len(values))
        parts.append(values[rng.integers(len(values), size=shape)].mean(axis=1))
    return np.concatenate(parts)


def bootstrap(domains: Sequence[Sequence[float]], *, seed: int, num_resamples: int = NUM_RESAMPLES) -> Interval:
    """The mean over domains of the mean of each domain's differences; one domain gives the plain paired bootstrap."""
    if not domains or not all(domains):
        raise ValueError("bootstrap needs at least one domain and one difference in each")
    arrays = [np.asarray(values, dtype=np.float64) for values in domains]
    rng = np.random.default_rng(seed)
    means = np.mean([resampled_means(values, rng, num_resamples) for values in arrays], axis=0)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(np.mean([values.mean() for values in arrays])), float(low), float(high))
