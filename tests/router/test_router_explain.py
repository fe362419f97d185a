"""Explanations: our own prompts by their text, everybody else's by id and licence only."""

from __future__ import annotations

import numpy as np
import pytest
from router_fakes import FakeEncoder, fake_artefact

from router.evaluation.explain_command import explain
from router.model.artefact import load_artefact
from router.model.scores import Nearest, Scores, score
from router.neighbours import neighbours, with_texts
from router.training.authored import authored_prompts

OUR_SOURCES = {prompt.source for prompt in authored_prompts()}


def test_the_text_shown_for_a_training_prompt_is_the_one_the_shipped_router_was_trained_on() -> None:
    """An id is a place in a file; where lines were added since the training it would show another prompt."""
    from router.encoding.encoder import Encoder

    artefact = load_artefact()
    rows = [row for row, exemplar in enumerate(artefact.exemplars) if exemplar.text is not None][::100]
    texts = [artefact.exemplars[row].text or "" for row in rows]
    stored = artefact.exemplar_vectors[rows]
    vectors = Encoder(artefact.encoder_source).encode(texts)[:, : stored.shape[1]]
    cosines = (vectors * stored).sum(axis=1)
    assert cosines.tolist() == pytest.approx([1.0] * len(rows), abs=5e-3)  # of another arithmetic, and in float16


def test_nobody_elses_text_is_ever_shown() -> None:
    artefact = load_artefact()
    num = len(artefact.exemplars)
    ones = np.ones((1, num), np.float32)
    plain = neighbours(artefact, Scores(ones, ones[0], Nearest(np.arange(num)[None], ones)), 0)
    assert not any(near.text for near in plain)
    shown = with_texts(artefact, plain)
    assert {near.source for near in shown if near.text} <= OUR_SOURCES
    assert all(near.text for near in shown if near.source in OUR_SOURCES)
    assert all(near.license != "licence unknown" for near in shown)


def test_nearest_come_first_and_similarity_is_their_mean() -> None:
    artefact = fake_artefact()
    vector = FakeEncoder().encode(["select it"])[0]
    scores = score(artefact, vector[None], ["a text"])
    cosines = artefact.exemplar_vectors @ vector[: artefact.exemplar_vectors.shape[1]]
    assert scores.nearest.rows[0].tolist() == np.argsort(-cosines).tolist()
    assert scores.nearest.cosines[0] == pytest.approx(np.sort(cosines)[::-1], abs=1e-6)
    assert scores.similarity[0] == pytest.approx(cosines.mean(), abs=1e-6)


def test_an_explanation_reads_like_one() -> None:
    text = str(explain(fake_artefact(data={"s": {"license": "MIT"}}), "select", FakeEncoder().encode(["select"])[0]))
    assert text.splitlines()[0].split() == ["sql", "1.000"]
    assert "sure: the category's expert answers" in text
    assert "b (s, MIT)" in text
