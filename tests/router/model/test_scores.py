"""The nearest exemplars come first, and similarity is their mean cosine."""

from __future__ import annotations

import numpy as np
import pytest
from router_fakes import FakeEncoder, fake_artefact

from router.model.scores import score


def test_nearest_come_first_and_similarity_is_their_mean() -> None:
    artefact = fake_artefact()
    vector = FakeEncoder().encode(["select it"])[0]
    scores = score(artefact, vector[None], ["a text"])
    cosines = artefact.exemplar_vectors @ vector[: artefact.exemplar_vectors.shape[1]]
    assert scores.nearest.rows[0].tolist() == np.argsort(-cosines).tolist()
    assert scores.nearest.cosines[0] == pytest.approx(np.sort(cosines)[::-1], abs=1e-6)
    assert scores.similarity[0] == pytest.approx(cosines.mean(), abs=1e-6)
