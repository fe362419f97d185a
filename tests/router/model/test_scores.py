"""The nearest exemplars come first, and confidence is what the artefact's rule makes of the probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from router_fakes import FakeEncoder, fake_artefact

from router.model.abstain import AbstainRule
from router.model.scores import score


def test_nearest_come_first() -> None:
    artefact = fake_artefact()
    vector = FakeEncoder().encode(["select it"])[0]
    scores = score(artefact, vector[None], ["a text"])
    cosines = artefact.exemplar_vectors @ vector[: artefact.exemplar_vectors.shape[1]]
    assert scores.nearest.rows[0].tolist() == np.argsort(-cosines).tolist()
    assert scores.nearest.cosines[0] == pytest.approx(np.sort(cosines)[::-1], abs=1e-6)


def test_confidence_is_the_rules() -> None:
    vector = FakeEncoder().encode(["select it"])
    plain = score(fake_artefact(), vector, ["select it"])
    assert plain.confidence.tolist() == plain.probabilities.max(axis=1).tolist()
    doubtful = fake_artefact(abstain=AbstainRule(0.5, (0.0, 0.0, 0.0, 0.0, 0.0), -2.0))
    assert score(doubtful, vector, ["select it"]).confidence[0] == pytest.approx(0.1192, abs=1e-4)
