"""A training set to a fitted model: weights of rows, the layer over embeddings, the layer over TF-IDF.

Owns how one model is fitted under a recipe. Knows nothing about folds, thresholds or files.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from router.model.category_model import CategoryModel
from router.model.layers import Layer
from router.model.tf_idf import TfIdfModel, tf_idf
from router.training.classifier import CategoryClassifier, CategoryNeighbours, softmax_regression
from router.training.recipe import Recipe
from router.training.training_set import TrainingSet

__all__ = ["family_weights", "fit_layer", "fit_model", "fit_tf_idf"]

MIN_PROMPTS_PER_TERM = 3
MAX_TERMS = 20_000


def fit_model(training_set: TrainingSet, recipe: Recipe) -> CategoryModel:
    """Return the model of these rows; a category without rows here is all but ruled out."""
    weights = family_weights(training_set, recipe)
    layer = fit_layer(training_set, weights, recipe)
    if not recipe.tf_idf_weight:
        return CategoryModel(layer)
    return CategoryModel(layer, fit_tf_idf(training_set, weights, recipe), recipe.tf_idf_weight)


def fit_tf_idf(training_set: TrainingSet, weights: NDArray[np.float64], recipe: Recipe) -> TfIdfModel:
    """Return a softmax regression over TF-IDF of the terms that enough of the rows have."""
    counts, num_prompts = training_set.terms, len(training_set.labels)
    document_frequency = np.bincount(counts.matrix.indices, minlength=len(counts.terms))
    most_common = np.argsort(-document_frequency, kind="stable")[:MAX_TERMS]
    chosen = np.sort(most_common[document_frequency[most_common] >= MIN_PROMPTS_PER_TERM])
    idf = np.log((1 + num_prompts) / (1 + document_frequency[chosen])) + 1
    rows = tf_idf(counts.matrix[:, chosen], idf)
    regression = LogisticRegression(C=1.0 / (recipe.tf_idf_penalty * num_prompts), max_iter=100, tol=1e-3)
    layer = softmax_regression(regression, rows, training_set.labels, weights)
    return TfIdfModel(
        counts.terms[chosen], idf, layer.renumbered(np.unique(training_set.labels), len(training_set.categories))
    )


def fit_layer(training_set: TrainingSet, weights: NDArray[np.float64], recipe: Recipe) -> Layer:
    """Return the fitted layer over the training set's vectors."""
    num_categories = len(training_set.categories)
    if recipe.kind == "neighbours":
        votes = CategoryNeighbours(num_neighbours=recipe.num_neighbours).fit(
            training_set.vectors, training_set.labels, weights
        )
        return votes.layer_.renumbered(votes.classes_, num_categories)
    linear = CategoryClassifier(C=1.0 / (recipe.penalty * len(training_set.labels)), class_weight=None)
    linear.fit(training_set.vectors, training_set.labels, weights)
    return linear.layer_.renumbered(linear.classes_, num_categories)


def family_weights(training_set: TrainingSet, recipe: Recipe) -> NDArray[np.float64]:
    """Return (rows,) weights: categories count alike, and in one a family by its square root times its boost.

    A benchmark with thousands of rows would otherwise decide what its category sounds like. The mean is 1.
    """
    _, kind_of, sizes = np.unique(
        np.char.add(training_set.families, np.char.add("|", training_set.labels.astype(str))),
        return_inverse=True,
        return_counts=True,
    )
    boost_of = dict(recipe.family_boosts)
    boosts = np.array([boost_of.get(family, 1.0) for family in training_set.families.tolist()])
    weights = boosts * sizes[kind_of] ** -0.5
    weights /= np.bincount(training_set.labels, weights)[training_set.labels]
    return np.asarray(weights * len(weights) / weights.sum())
