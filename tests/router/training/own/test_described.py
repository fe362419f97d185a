"""A classifier around descriptions: without rows it is the descriptions, with many it is the rows."""

from __future__ import annotations

import numpy as np
import pytest
from router_fakes import HIDDEN, FakeEncoder, embed

from router.labelled.prompts import Prompt
from router.model.centre import around
from router.training.fitting import fit_model
from router.training.own.described import GENERAL, Descriptions, around_descriptions, described_text
from router.training.recipe import Recipe
from router.training.training_set import TrainingSet

TOLD = {"garden": "plants lawns pests", "chess": "openings endgames tactics"}
CENTRE = np.zeros(HIDDEN)


def rows_of(prompts: list[Prompt]) -> TrainingSet:
    return TrainingSet.of(prompts, FakeEncoder(), TOLD)


def layer_after(labels: list[int], text: str) -> np.ndarray:
    described = rows_of([Prompt("good day", GENERAL)]).described
    vectors = np.stack([embed(text)] * len(labels)) if labels else np.zeros((0, HIDDEN))
    layer = around_descriptions(vectors, np.array(labels, np.intp), np.ones(len(labels)), described, CENTRE)
    return layer.logits(embed(text)[None])[0]


def test_without_rows_the_nearest_description_wins() -> None:
    assert layer_after([], "which pests eat plants").argmax() == 1
    assert layer_after([], "tactics in endgames").argmax() == 0


def test_rows_outweigh_a_description() -> None:
    text = "which pests eat plants"
    margins = [np.diff(layer_after([0] * num, text)[:2])[0] for num in (0, 1, 5, 50)]
    assert margins == sorted(margins, reverse=True)
    assert margins[0] > 0 > margins[-1]


def test_general_has_no_description_and_a_name_is_one() -> None:
    described = rows_of([Prompt("good day", GENERAL), Prompt("sue them", "tenancy_law")]).described
    assert described.is_described.tolist() == [True, True, False, True]
    assert not described.prior[2].any()
    np.testing.assert_allclose(np.linalg.norm(described.prior[[0, 1, 3]], axis=1), 1)
    assert described_text("tenancy_law", TOLD) == "tenancy law"


def test_the_two_halves_agree_on_a_category_that_is_only_described() -> None:
    rows = rows_of([Prompt("good day", GENERAL, family=str(number)) for number in range(5)])
    logits = fit_model(rows, Recipe()).logits(FakeEncoder().encode(["plants"]), ["plants"])
    assert rows.categories[int(logits[0].argmax())] == "garden"


def test_vectors_that_are_no_numbers_are_refused() -> None:
    described = rows_of([Prompt("good day", GENERAL)]).described
    with pytest.raises(ValueError, match="not finite"):
        around_descriptions(np.full((1, HIDDEN), np.nan), np.array([0]), np.ones(1), described, CENTRE)


def test_the_ends_of_a_text_do_not_count() -> None:
    rows = rows_of([Prompt("good day", GENERAL), Prompt("plants", "garden")])
    model, (vector,) = fit_model(rows, Recipe(tf_idf_weight=0)), FakeEncoder().encode(["plants"])
    other = vector.copy()
    other[HIDDEN:] = -other[HIDDEN:]
    np.testing.assert_array_equal(model.logits(vector[None], [""]), model.logits(other[None], [""]))
    assert model.centre is not None
    assert around(vector[None], model.centre).shape == (1, 3 * HIDDEN)


def test_descriptions_are_encoded_whole() -> None:
    described = Descriptions.of(
        ["a", "b"], {"a": "plants"}, FakeEncoder(), rows_of([Prompt("good day", GENERAL)]).term_counts
    )
    np.testing.assert_allclose(described.vectors[0], embed("plants"), rtol=1e-5)
