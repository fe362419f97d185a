"""A training set to a fitted model: weights of the rows, the layer over embeddings, the regression over TF-IDF.

Owns how one model is fitted by a recipe. Knows nothing about folds, thresholds or files.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from router.model.category_model import CategoryModel
from router.model.centre import around
from router.model.layers import Layer, LinearLayer
from router.model.tf_idf import TfIdfModel, tf_idf
from router.training.classifier import CategoryClassifier, CategoryNeighbours, softmax_regression
from router.training.exemplars import whole
from router.training.hidden_layer import fit_hidden
from router.training.own.described import around_descriptions, around_zero, balanced
from router.training.recipe import Recipe
from router.training.training_set import TrainingSet

__all__ = ["family_weights", "fit_model", "fit_tf_idf", "fit_vectors"]

MIN_PROMPTS_PER_TERM = 3
MAX_TERMS = 20_000
NUM_SEGMENTS = 3  # of a vector: whole text, beginning, end
Floats = NDArray[np.floating]
Weights = NDArray[np.float64]  # (rows,)


def fit_model(rows: TrainingSet, recipe: Recipe) -> CategoryModel:
    """Return the model of these rows; a category without rows among them is all but ruled out."""
    weights = family_weights(rows, recipe)
    of_vectors = fit_vectors(rows, weights, recipe)
    if not recipe.tf_idf_weight:
        return of_vectors
    if recipe.kind == "described":
        tf_idf = around_zero(rows.term_counts, rows.labels, weights, rows.described)
    else:
        tf_idf = fit_tf_idf(rows, weights, recipe)
    return replace(of_vectors, tf_idf=tf_idf, tf_idf_weight=recipe.tf_idf_weight)


def fit_vectors(rows: TrainingSet, weights: Weights, recipe: Recipe) -> CategoryModel:
    """Return a model of the embeddings alone: their centre, and a layer of the recipe's kind."""
    centre = rows.vectors.mean(axis=0, dtype=np.float64).astype(np.float32).reshape(NUM_SEGMENTS, -1)
    vectors = around(rows.vectors, centre)
    if recipe.kind == "described":
        return CategoryModel(described_layer(rows, vectors, weights, centre), centre=centre)
    return CategoryModel(fit_layer(vectors, rows.labels, weights, recipe, len(rows.categories)), centre=centre)


def described_layer(rows: TrainingSet, vectors: Floats, weights: Weights, centre: Floats) -> LinearLayer:
    """Return the layer around the descriptions; it reads the whole text and not its ends, which no description has."""
    layer = around_descriptions(whole(vectors), rows.labels, weights, rows.described, centre[0])
    coef = np.zeros((len(layer.coef), vectors.shape[1]), np.float32)
    coef[:, : layer.coef.shape[1]] = layer.coef
    return LinearLayer(coef, layer.intercept)


def fit_layer(
    vectors: Floats, labels: NDArray[np.intp], weights: Weights, recipe: Recipe, num_categories: int
) -> Layer:
    """Return the layer over (rows, dims) centred embeddings, of the recipe's kind."""
    if recipe.kind == "hidden":
        classes, numbers = np.unique(labels, return_inverse=True)
        hidden = fit_hidden(vectors, numbers, weights, num_units=recipe.num_units, seed=recipe.seed)
        return hidden.renumbered(classes, num_categories)
    if recipe.kind == "neighbours":
        votes = CategoryNeighbours(num_neighbours=recipe.num_neighbours).fit(vectors, labels, weights)
        return votes.layer_.renumbered(votes.classes_, num_categories)
    linear = CategoryClassifier(C=1.0 / (recipe.penalty * len(labels)), class_weight=None)
    linear.fit(vectors, labels, weights)
    return linear.layer_.renumbered(linear.classes_, num_categories)


def fit_tf_idf(rows: TrainingSet, weights: Weights, recipe: Recipe) -> TfIdfModel:
    """Return a softmax regression over the TF-IDF of the most common terms that stand in three rows or more."""
    counts, num_prompts = rows.term_counts, len(rows.labels)
    document_frequency = np.bincount(counts.matrix.indices, minlength=len(counts.terms))
    most_common = np.argsort(-document_frequency, kind="stable")[:MAX_TERMS]
    chosen = np.sort(most_common[document_frequency[most_common] >= MIN_PROMPTS_PER_TERM])
    idf = np.log((1 + num_prompts) / (1 + document_frequency[chosen])) + 1
    weighed = tf_idf(counts.matrix[:, chosen], idf)
    regression = LogisticRegression(C=1.0 / (recipe.tf_idf_penalty * num_prompts), max_iter=100, tol=1e-3)
    layer = softmax_regression(regression, weighed, rows.labels, weights)
    return TfIdfModel(counts.terms[chosen], idf, layer.renumbered(np.unique(rows.labels), len(rows.categories)))


def family_weights(rows: TrainingSet, recipe: Recipe) -> Weights:
    """Return (rows,) weights, 1 on average: categories count alike; within one, a family by its root times its boost.

    Unweighted, a benchmark with thousands of rows would decide what its category sounds like.
    """
    pairs = np.char.add(rows.families, np.char.add("|", rows.labels.astype(str)))
    _, pair_of, sizes = np.unique(pairs, return_inverse=True, return_counts=True)
    boost_of = dict(recipe.family_boosts)
    boosts = np.array([boost_of.get(family, 1.0) for family in rows.families.tolist()])
    return balanced(rows.labels, boosts * sizes[pair_of] ** -0.5, len(rows.categories))
