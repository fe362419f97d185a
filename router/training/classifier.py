"""Classifiers of embeddings: a softmax regression, and the nearest neighbours.

Owns fitting a layer of router/model/layers.py over vectors, in scikit-learn's conventions, and fitting a temperature.
Knows nothing about prompts, encoders or experts.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight as check_sample_weight
from sklearn.utils.validation import check_is_fitted, validate_data

from router.model.layers import Layer, LinearLayer, NeighbourLayer

__all__ = ["CategoryClassifier", "CategoryNeighbours", "fit_temperature", "softmax_regression"]

Floats = NDArray[np.floating]


class LayerClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """Fit and prediction of both classifiers: probabilities are the softmax of a layer's logits over a temperature.

    Learned: `classes_`, `layer_`.
    """

    temperature: float
    classes_: NDArray[Any]
    layer_: Layer

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """Fit on (n, dims) embeddings and (n,) categories."""
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])  # noqa: N806
        check_classification_targets(y)
        sample_weight = check_sample_weight(sample_weight, X, allow_all_zero_weights=False)
        kept = sample_weight > 0
        classes, labels = np.unique(y[kept], return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"only {len(classes)} class in the data: two categories or more are needed")
        self.classes_ = classes
        self.layer_ = self._fitted_layer(X[kept], labels, sample_weight[kept])
        return self

    def _fitted_layer(self, vectors: Floats, labels: NDArray[np.integer], weights: Floats) -> Layer:
        raise NotImplementedError

    def logits(self, X: Any) -> Floats:  # noqa: N803
        """Return (n, classes) scores before the temperature."""
        check_is_fitted(self)
        return self.layer_.logits(validate_data(self, X, reset=False, dtype=[np.float64, np.float32]))

    def predict_proba(self, X: Any) -> Floats:  # noqa: N803
        """Return (n, classes) probabilities, columns as in `classes_`."""
        probabilities: Floats = softmax(self.logits(X) / self.temperature, axis=1)
        return probabilities

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """Return (n,) categories."""
        best = self.logits(X).argmax(axis=1)
        chosen: NDArray[Any] = self.classes_[best]
        return chosen


class CategoryClassifier(LayerClassifier):
    """Softmax regression over embeddings.

    C is the inverse of the L2 penalty, class_weight as scikit-learn has it. Learned: `classes_`, `layer_`.
    """

    def __init__(
        self,
        *,
        C: float = 1.0,  # noqa: N803  # scikit-learn's name
        class_weight: str | None = "balanced",
        max_iter: int = 500,
        temperature: float = 1.0,
    ) -> None:
        self.C = C
        self.class_weight = class_weight
        self.max_iter = max_iter
        self.temperature = temperature

    def _fitted_layer(self, vectors: Floats, labels: NDArray[np.integer], weights: Floats) -> LinearLayer:
        model = LogisticRegression(C=self.C, class_weight=self.class_weight, max_iter=self.max_iter)
        layer = softmax_regression(model, vectors, labels, weights)
        self.n_iter_ = int(model.n_iter_.max())
        return layer


class CategoryNeighbours(LayerClassifier):
    """The votes of the nearest training embeddings by cosine, weighed by 1 / distance (the CoE papers' router).

    Learned: `classes_`, `layer_`.
    """

    def __init__(self, *, num_neighbours: int = 15, temperature: float = 1.0) -> None:
        self.num_neighbours = num_neighbours
        self.temperature = temperature

    def _fitted_layer(self, vectors: Floats, labels: NDArray[np.integer], weights: Floats) -> NeighbourLayer:
        length = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return NeighbourLayer(vectors / length, labels, weights, self.num_neighbours, len(self.classes_))


def softmax_regression(
    model: LogisticRegression,
    rows: Any,
    labels: NDArray[np.integer],
    weights: Floats,
) -> LinearLayer:
    """Return the layer of a scikit-learn regression fitted on dense or sparse rows, one row of `coef` per class."""
    model.fit(rows, labels, sample_weight=weights)
    if len(model.classes_) > 2:
        return LinearLayer(model.coef_, model.intercept_)
    # of two classes scikit-learn keeps one row: softmax([0, w]) = sigmoid(w)
    return LinearLayer(np.vstack([np.zeros_like(model.coef_), model.coef_]), np.append(0.0, model.intercept_))


def fit_temperature(logits: Floats, labels: NDArray[np.integer]) -> float:
    """Return the temperature with the least negative log-likelihood on held-out logits (Guo et al. 2017).

    `logits` is (n, classes), `labels` (n,) the column of the true class.
    """

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        return float(-scaled[np.arange(len(labels)), labels].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-4.0, 4.0), method="bounded").x))
