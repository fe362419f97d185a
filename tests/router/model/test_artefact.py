"""Artefacts come back as they were saved, or are refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from router_fakes import FakeEncoder, fake_artefact, no_follow_ups, toy_prompts

from router.model.artefact import ArtefactError, Exemplar, load_artefact
from router.model.scores import score
from router.training.recipe import Recipe
from router.training.train import train


def test_a_saved_artefact_comes_back(tmp_path: Path) -> None:
    exemplars = (Exemplar("a", "s", "math"), Exemplar("b", "x", "sql", "select \n é 你好"))
    saved = fake_artefact(data={"x": {"rows": 2, "license": "MIT"}}, exemplars=exemplars)
    saved.save(tmp_path)
    loaded = load_artefact(tmp_path)
    vectors = np.random.default_rng(0).normal(size=(5, 48)).astype(np.float32)
    np.testing.assert_array_equal(loaded.model.layer.logits(vectors), saved.model.layer.logits(vectors))
    np.testing.assert_allclose(loaded.exemplar_vectors, saved.exemplar_vectors, atol=1e-3)
    for name in ("encoder_id", "categories", "temperature", "abstain", "exemplars", "data"):
        assert getattr(loaded, name) == getattr(saved, name)


@pytest.mark.parametrize("recipe", [Recipe(), Recipe(tf_idf_weight=0.0), Recipe(kind="neighbours")])
def test_every_kind_of_model_comes_back_with_its_scores(tmp_path: Path, recipe: Recipe) -> None:
    prompts, encoder = toy_prompts(), FakeEncoder()
    saved = train(prompts, encoder, recipe, follow_up=no_follow_ups())
    saved.save(tmp_path)
    texts = [prompt.text for prompt in prompts] + ["a word nobody counted", "\ud800 é 你好"]
    vectors = encoder.encode(texts)
    loaded = load_artefact(tmp_path)
    assert (loaded.model.tf_idf is None) == (recipe.tf_idf_weight == 0)
    np.testing.assert_allclose(
        score(loaded, vectors, texts).probabilities, score(saved, vectors, texts).probabilities, atol=2e-3
    )


def test_saving_twice_writes_the_same_bytes(tmp_path: Path) -> None:
    fake_artefact().save(tmp_path / "a")
    fake_artefact().save(tmp_path / "b")
    for name in ("router.json", "router.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_folder_without_a_router_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"no router\.json there"):
        load_artefact(tmp_path)


def test_changed_arrays_are_refused(tmp_path: Path) -> None:
    fake_artefact().save(tmp_path)
    with (tmp_path / "router.safetensors").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(ArtefactError, match="train again"):
        load_artefact(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "a router of format 2, and this version reads format 4; train it again"),
        ({"surprise": 1}, "surprise"),
        ({"abstain": 1}, "not a header"),
    ],
)
def test_another_format_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    fake_artefact().save(tmp_path)
    path = tmp_path / "router.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ArtefactError, match=message):
        load_artefact(tmp_path)


def test_a_header_that_is_not_json_is_refused(tmp_path: Path) -> None:
    fake_artefact().save(tmp_path)
    (tmp_path / "router.json").write_text("{")
    with pytest.raises(ArtefactError, match="not JSON"):
        load_artefact(tmp_path)
