"""The closed-form classifier is scikit-learn's linear discriminant, and keeps its conventions."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.utils.estimator_checks import check_estimator

from router.mapping_study.gaussian import SharedGaussian


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")  # a check that needs pandas
def test_it_keeps_the_conventions_of_scikit_learn() -> None:
    check_estimator(SharedGaussian())


def test_without_shrinkage_it_is_the_linear_discriminant() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=300)
    vectors = rng.normal(size=(300, 4)) + labels[:, None] * [1.0, 0.5, 0.0, -0.3]
    theirs = LinearDiscriminantAnalysis(solver="lsqr").fit(vectors, labels)
    ours = SharedGaussian(shrinkage=0.0).fit(vectors, labels)
    np.testing.assert_allclose(ours.predict_proba(vectors), theirs.predict_proba(vectors), atol=1e-2)
    assert (ours.predict(vectors) == theirs.predict(vectors)).mean() > 0.99


def test_more_dimensions_than_rows_are_no_obstacle() -> None:
    vectors = np.random.default_rng(0).normal(size=(10, 50))
    labels = np.arange(10) % 2
    assert (SharedGaussian().fit(vectors, labels).predict(vectors) == labels).all()


def test_one_category_is_refused() -> None:
    with pytest.raises(ValueError, match="only 1 class"):
        SharedGaussian().fit(np.eye(3), ["a", "a", "a"])
