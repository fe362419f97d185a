"""One fitted model: families weigh by their root, a category without rows is all but ruled out."""

from __future__ import annotations

import numpy as np
import pytest
from router_fakes import FakeEncoder, odd_family_set, toy_prompts

from router.labelled.prompts import Prompt
from router.training.fitting import family_weights, fit_model
from router.training.recipe import Recipe
from router.training.training_set import TrainingSet


def test_categories_count_alike_and_a_family_by_its_root_times_its_boost() -> None:
    sizes = {("a", "large"): 16, ("a", "small"): 4, ("b", "only"): 9}
    prompts = [Prompt(f"x{n}", c, family=f) for (c, f), size in sizes.items() for n in range(size)]
    rows = TrainingSet.of(prompts, FakeEncoder())
    weights = family_weights(rows, Recipe(family_boosts=(("small", 3.0),)))
    totals = {family: weights[rows.families == family].sum() for family in ("large", "small", "only")}
    assert weights.mean() == pytest.approx(1)
    assert totals["only"] == pytest.approx(totals["large"] + totals["small"])
    assert totals["small"] / totals["large"] == pytest.approx(3 * 4**0.5 / 16**0.5)


@pytest.mark.parametrize(
    "recipe", [Recipe(kind="linear"), Recipe(kind="neighbours"), Recipe(kind="hidden", tf_idf_weight=0.0)]
)
def test_a_category_without_rows_is_all_but_ruled_out(recipe: Recipe) -> None:
    prompts = [*toy_prompts(), Prompt("sue them", "law")]
    rows = TrainingSet.of(prompts, FakeEncoder())
    without_law = rows.take(np.flatnonzero(rows.labels != rows.categories.index("law")))
    logits = fit_model(without_law, recipe).logits(rows.vectors, [prompt.text for prompt in prompts])
    assert logits.shape == (61, 3)
    assert (logits.argmax(axis=1) != rows.categories.index("law")).all()


def test_rare_terms_are_left_out() -> None:
    rows = odd_family_set()
    model = fit_model(rows, Recipe(kind="linear")).tf_idf
    assert model is not None
    document_frequency = np.asarray((rows.term_counts.matrix > 0).sum(axis=0)).ravel()
    kept = np.isin(rows.term_counts.terms, model.terms)
    assert kept.sum() == len(model.terms)
    assert document_frequency[kept].min() >= 3 > document_frequency[~kept].max()
