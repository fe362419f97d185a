"""Embeddings to category probabilities: a softmax regression with a temperature.

Owns fitting, calibration and prediction over vectors. Knows nothing about prompts, encoders or experts. Prediction is
plain numpy, so that a loaded artefact needs no scikit-learn.
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

__all__ = ["CategoryClassifier", "fit_temperature"]

Floats = NDArray[np.floating]


class CategoryClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """Softmax regression over embeddings, its logits divided by a temperature that `fit_temperature` found.

    C is the inverse of the L2 penalty, class_weight as scikit-learn has it. Learned: `classes_`, `coef_` (classes,
    dims), `intercept_` (classes,).
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

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """Fit on (n, dims) embeddings and (n,) categories."""
        X, y = validate_data(self, X, y)  # noqa: N806
        check_classification_targets(y)
        sample_weight = check_sample_weight(sample_weight, X, allow_all_zero_weights=False)
        kept = sample_weight > 0
        X, y, sample_weight = X[kept], y[kept], sample_weight[kept]  # noqa: N806
        if len(np.unique(y)) < 2:
            raise ValueError(f"only {len(np.unique(y))} class in the data: two categories or more are needed")
        model = LogisticRegression(C=self.C, class_weight=self.class_weight, max_iter=self.max_iter)
        model.fit(X, y, sample_weight=sample_weight)
        self.classes_ = model.classes_
        self.n_iter_ = int(model.n_iter_.max())
        is_binary = len(self.classes_) == 2  # scikit-learn then keeps one row: softmax([0, w]) = sigmoid(w)
        self.coef_ = np.vstack([np.zeros_like(model.coef_), model.coef_]) if is_binary else model.coef_
        self.intercept_ = np.append(0.0, model.intercept_) if is_binary else model.intercept_
        return self

    def logits(self, X: Any) -> Floats:  # noqa: N803
        """Return (n, classes) scores before the temperature."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)  # noqa: N806
        scores: Floats = X @ self.coef_.T + self.intercept_
        return scores

    def predict_proba(self, X: Any) -> Floats:  # noqa: N803
        """Return (n, classes) probabilities, columns as in `classes_`."""
        probabilities: Floats = softmax(self.logits(X) / self.temperature, axis=1)
        return probabilities

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """Return (n,) categories."""
        best = self.logits(X).argmax(axis=1)
        chosen: NDArray[Any] = self.classes_[best]
        return chosen


def fit_temperature(logits: Floats, labels: NDArray[np.integer]) -> float:
    """Return the temperature with the least negative log-likelihood on held-out logits (Guo et al. 2017).

    `logits` is (n, classes), `labels` (n,) the column of the true class.
    """

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        return float(-scaled[np.arange(len(labels)), labels].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-4.0, 4.0), method="bounded").x))
