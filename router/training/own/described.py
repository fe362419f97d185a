"""Categories from a sentence each: a softmax regression whose prior is the descriptions.

Owns the rule for categories that a user makes up: weights start at the embedding of a category's description and name,
and every labelled row moves them (maximum a posteriori with a Gaussian prior around the descriptions), so that one rule
serves from no row to thousands. Beside it a regression over TF-IDF that is held near zero. General prompts are the
class of everything else. Knows nothing about folds, thresholds or files.

The constants were chosen on half of eight public label sets; docs/routing.md has the figures of the other half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import vstack
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from router.encoding.text_encoder import TextEncoder
from router.labelled.descriptions import GENERAL
from router.model.layers import LinearLayer
from router.model.tf_idf import TermCounts, TfIdfModel, tf_idf
from router.training.classifier import softmax_regression
from router.training.exemplars import whole

__all__ = ["GENERAL", "Descriptions", "around_descriptions", "around_zero", "balanced", "described_text"]

PRIOR_LENGTH = 5.0  # of a category's weights before any row was seen
C = 10.0  # how far the sum of the rows' losses moves weights from their prior, as scikit-learn has it
TF_IDF_C = 3.0
NAME_SHARE = 0.5  # of a name's embedding beside its description's
INTERCEPT_SLACK = 10.0  # intercepts move this much more freely than weights
MAX_STEPS = 200
MANY_ROWS = 200  # from here on a term must stand in two texts
MAX_TERMS = 20_000
Floats = NDArray[np.floating]
Labels = NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class Descriptions:
    """What the categories say of themselves, a row for each: vectors of the whole text, and counted terms.

    A category without a description is described by its name. Of `general`, the class of everything else, nothing is
    expected: its row of `prior` is zero and `is_described` False.
    """

    vectors: NDArray[np.float32]  # (categories, dims) of the descriptions, each of length 1
    prior: Floats  # (categories, dims), around their own mean
    term_counts: TermCounts
    is_described: NDArray[np.bool_]  # (categories,)

    @classmethod
    def of(
        cls,
        categories: Sequence[str],
        sentences: Mapping[str, str],
        encoder: TextEncoder,
        term_counts: TermCounts,
    ) -> Self:
        """Encode the descriptions of these categories; `term_counts` has a row for each, in the same order."""
        names = [spoken(category) for category in categories]
        told = [sentences.get(category, name) for category, name in zip(categories, names, strict=True)]
        vectors, named = whole(encoder.encode(told)), whole(encoder.encode(names))
        is_described = np.array([category != GENERAL or category in sentences for category in categories])
        prior = unit(spread(vectors, is_described) + NAME_SHARE * spread(named, is_described))
        return cls(vectors, prior * is_described[:, None], term_counts, is_described)


def described_text(category: str, sentences: Mapping[str, str]) -> str:
    """Return what TF-IDF reads of a category: its description and its name."""
    return f"{sentences.get(category, '')} {spoken(category)}".strip()


def spoken(category: str) -> str:
    """Return a name as words."""
    return category.replace("_", " ").replace("-", " ")


def spread(vectors: Floats, rows: NDArray[np.bool_]) -> Floats:
    """Return (n, dims) distances from the mean of the chosen rows, made 1 long: what sets each apart."""
    return unit(vectors - vectors[rows].mean(axis=0))


def unit(vectors: Floats) -> Floats:
    found: Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return found


def balanced(labels: Labels, weights: Floats, num_categories: int) -> NDArray[np.float64]:
    """Return (rows,) weights of mean 1 under which all categories that have rows count alike."""
    totals = np.bincount(labels, weights, minlength=num_categories)
    found: Floats = weights / totals[labels]
    return np.asarray(found * len(labels) / found.sum())


def around_descriptions(
    vectors: Floats, labels: Labels, weights: Floats, described: Descriptions, centre: Floats
) -> LinearLayer:
    """Return the layer over (rows, dims) centred vectors of whole texts that its prior and these rows agree on.

    The descriptions are rows as well. Loss: weighted cross-entropy, plus |weights - prior|² / 2C.
    """
    chosen, classes, importance = with_descriptions(labels, weights, described)
    rows = np.vstack([vectors, unit(described.vectors[chosen] - centre)]).astype(np.float64)
    return maximum_a_posteriori(rows, classes, importance, PRIOR_LENGTH * described.prior.astype(np.float64))


class DescribedRows(NamedTuple):
    """The categories whose descriptions are rows, after the labelled ones; labels and weights of all rows."""

    chosen: NDArray[np.intp]  # (descriptions,)
    labels: Labels  # (rows + descriptions,)
    weights: Floats  # (rows + descriptions,)


def with_descriptions(labels: Labels, weights: Floats, described: Descriptions) -> DescribedRows:
    """Return what both fits see of the rows: a description counts as an average row of its category."""
    chosen = np.flatnonzero(described.is_described)
    numbers = np.bincount(labels, minlength=int(chosen.max(initial=0)) + 1)
    totals = np.bincount(labels, weights, minlength=len(numbers))
    means = np.where(numbers > 0, totals / np.maximum(numbers, 1), 1.0)
    classes = np.concatenate([labels, chosen])
    importance = balanced(classes, np.concatenate([weights, means[chosen]]), len(described.prior))
    return DescribedRows(chosen, classes, importance)


def maximum_a_posteriori(rows: Floats, classes: Labels, weights: Floats, prior: Floats) -> LinearLayer:
    """Return the softmax regression nearest to (categories, dims) prior weights that explains the rows.

    Raises:
        ValueError: the solver found no optimum.
    """
    shape, num_weights = prior.shape, prior.size
    expected = rows @ prior.T
    truth = np.zeros_like(expected)
    truth[np.arange(len(rows)), classes] = 1.0

    def loss(parameters: Floats) -> tuple[float, Floats]:
        moved, intercept = parameters[:num_weights].reshape(shape), parameters[num_weights:]
        likelihood = log_softmax(expected + rows @ moved.T + intercept, axis=1)
        penalty = ((moved**2).sum() + (intercept**2).sum() / INTERCEPT_SLACK) / (2 * C)
        error = (np.exp(likelihood) - truth) * weights[:, None]
        slope = np.concatenate(
            [(error.T @ rows + moved / C).ravel(), error.sum(axis=0) + intercept / (C * INTERCEPT_SLACK)]
        )
        return float(penalty - (weights * (likelihood * truth).sum(axis=1)).sum()), slope

    start = np.zeros(num_weights + shape[0])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": MAX_STEPS})
    if not np.isfinite(found.fun):
        raise ValueError("the classifier found no weights: some vectors are not finite; use another encoder")
    moved, intercept = found.x[:num_weights].reshape(shape), found.x[num_weights:]
    return LinearLayer((prior + moved).astype(np.float32), intercept.astype(np.float32))


def around_zero(counts: TermCounts, labels: Labels, weights: Floats, described: Descriptions) -> TfIdfModel:
    """Return a regression over the TF-IDF of the rows and of the descriptions."""
    chosen, classes, importance = with_descriptions(labels, weights, described)
    columns = np.searchsorted(counts.terms, described.term_counts.terms)
    assert (counts.terms[columns] == described.term_counts.terms).all(), "descriptions are counted with the rows"
    matrix = vstack([counts.matrix, described.term_counts.matrix[chosen]], format="csr")
    frequency = np.bincount(matrix.indices, minlength=matrix.shape[1])
    most_common = np.argsort(-frequency, kind="stable")[:MAX_TERMS]
    least = 2 if len(labels) >= MANY_ROWS else 1
    terms = np.sort(most_common[frequency[most_common] >= least])
    idf = np.log((1 + len(classes)) / (1 + frequency[terms])) + 1
    regression = LogisticRegression(C=TF_IDF_C, max_iter=200, tol=1e-3)
    layer = softmax_regression(regression, tf_idf(matrix[:, terms], idf), classes, importance)
    return TfIdfModel(counts.terms[terms], idf, layer.renumbered(np.unique(classes), len(described.prior)))
