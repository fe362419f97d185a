"""Clusters: groups of vectors by direction, and how many there are.

Owns k-means over unit vectors (spherical in effect), the number of clusters (the best silhouette among numbers that a
person can look through) and which clusters are too small to be a category. Deterministic. Knows nothing about prompts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score

from router.model.centre import around

__all__ = ["FOLDED", "clustered", "folded"]

Floats = NDArray[np.floating]
Labels = NDArray[np.intp]
FOLDED = -1  # the label of what belongs to no cluster
NUM_DIMS = 64  # of the principal components; distances among more say the same and take longer
FEWEST, MOST = 4, 20  # of clusters, where nobody says how many: with two or three, halves of everything win
PER_CLUSTER = 5  # prompts that a cluster needs on average
NUM_JUDGED = 2000  # rows that the number of clusters is chosen on
LEAST_ROWS, LEAST_SHARE = 3, 0.15  # a cluster below either is folded; the share is of the mean size
SEED = 0


def clustered(vectors: Floats, num_clusters: int | None = None) -> Labels:
    """Return (n,) the cluster of each of (n, dims) vectors, numbered from 0.

    Raises:
        ValueError: too few vectors for so many clusters.
    """
    needed = PER_CLUSTER * (num_clusters or FEWEST)
    if len(vectors) < needed:
        raise ValueError(
            f"{len(vectors)} distinct prompts (near-duplicates counted once), and {needed} are needed for "
            f"{num_clusters or FEWEST} categories; add prompts{' or ask for fewer' if num_clusters else ''}"
        )
    rows = directions(vectors)
    found: Labels = k_means(rows, num_clusters or best_number(rows), 4).labels_.astype(np.intp)
    return found


def directions(vectors: Floats) -> Floats:
    """Return the vectors in their principal components, each 1 long."""
    num_dims = min(NUM_DIMS, *vectors.shape)
    unit = vectors
    if num_dims < vectors.shape[1]:
        unit = PCA(num_dims, svd_solver="randomized", random_state=SEED).fit_transform(unit)
    return around(unit, np.zeros(unit.shape[1]))


def best_number(rows: Floats) -> int:
    """Return the number of clusters with the best mean silhouette, on a sample."""
    sample = np.random.default_rng(SEED).permutation(len(rows))[:NUM_JUDGED]
    judged = rows[sample]
    numbers = range(FEWEST, min(MOST, len(judged) // PER_CLUSTER) + 1)
    figures = [silhouette_score(judged, k_means(judged, number, 2).labels_) for number in numbers]
    return numbers[int(np.argmax(figures))]


def k_means(rows: Floats, number: int, num_starts: int) -> KMeans:
    return KMeans(number, n_init=num_starts, random_state=SEED).fit(rows)


def folded(labels: Labels) -> Labels:
    """Return the labels with FOLDED in place of clusters that are too small, the others numbered by falling size."""
    sizes = np.bincount(labels)
    least = max(LEAST_ROWS, LEAST_SHARE * len(labels) / np.count_nonzero(sizes))
    order = [number for number in np.argsort(-sizes, kind="stable").tolist() if sizes[number] >= least]
    numbers = np.full(len(sizes), FOLDED, np.intp)
    numbers[order] = np.arange(len(order))
    found: Labels = numbers[labels]
    return found
