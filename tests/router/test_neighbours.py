"""Authored prompts are shown by their text, all others by id and licence alone."""

from __future__ import annotations

import numpy as np
import pytest

from router.labelled.shipped import shipped_prompts
from router.model.artefact import load_artefact
from router.model.scores import Nearest, Scores
from router.neighbours import neighbours, with_texts

OUR_SOURCES = {prompt.source for prompt in shipped_prompts(None).prompts}


def test_the_text_shown_for_a_training_prompt_is_the_one_the_shipped_router_was_trained_on() -> None:
    """An id is a place in a file; where lines were added since the training it would show another prompt."""
    from router.encoding.encoder import Encoder

    artefact = load_artefact()
    rows = [row for row, exemplar in enumerate(artefact.exemplars) if exemplar.text is not None][::100]
    texts = [artefact.exemplars[row].text or "" for row in rows]
    stored = artefact.exemplar_vectors[rows]
    vectors = artefact.model.centred(Encoder(artefact.encoder_source).encode(texts))
    cosines = (vectors[:, : stored.shape[1]] * stored).sum(axis=1)
    assert cosines.tolist() == pytest.approx([1.0] * len(rows), abs=5e-3)  # of another arithmetic, and in float16


def test_no_other_text_is_ever_shown() -> None:
    artefact = load_artefact()
    num = len(artefact.exemplars)
    ones = np.ones((1, num), np.float32)
    plain = neighbours(artefact, Scores(ones, ones[0], Nearest(np.arange(num)[None], ones)), 0)
    assert not any(near.text for near in plain)
    shown = with_texts(artefact, plain)
    assert {near.source for near in shown if near.text} <= OUR_SOURCES
    assert all(near.text for near in shown if near.source in OUR_SOURCES)
    assert all(near.license != "licence unknown" for near in shown)
