"""Labels of a trained router: out of fold for its own training prompts where those are named, else counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from router_fakes import FakeEncoder, fake_artefact, no_follow_ups, toy_prompts

from router.labelled.prompts import Prompt
from router.mapping_study.router_labels import recipe_of, router_labels
from router.training.recipe import DEFAULTS
from router.training.train import train

WORDS = ("red", "green", "blue", "pink", "gold", "grey", "teal", "navy", "lime", "plum")


def oddly_labelled() -> list[Prompt]:
    """Twenty prompts of each category, and one of a wording of its own that its category alone tells."""
    rows = [Prompt(f"{start} {one} {two}", category) for category, start in (("math", "sum"), ("sql", "select"))
            for one in WORDS for two in WORDS[:4]]  # fmt: skip
    return [*rows, Prompt("select xylophone quince zebra", "math", id="odd")]


def test_a_training_prompt_is_labelled_by_models_that_never_saw_it() -> None:
    """A neighbour votes for itself: in sample the odd prompt is math, out of fold it is what its words say."""
    prompts = oddly_labelled()
    recipe = replace(DEFAULTS, kind="neighbours", num_neighbours=1, tf_idf_weight=0.0)
    artefact = train(prompts, FakeEncoder(), recipe, follow_up=no_follow_ups())
    texts = ["select xylophone quince zebra", "SELECT Xylophone quince zebra", "sum of squares"]
    in_sample = router_labels(artefact, FakeEncoder(), texts)
    assert in_sample.labels.tolist() == ["math", "math", "math"]
    held = router_labels(artefact, FakeEncoder(), texts, prompts)
    assert held.labels.tolist() == ["sql", "sql", "math"]
    assert held.notes == ("labels: 2 of 3 prompts are training prompts or near one, labelled out of fold",)


def test_prompts_in_sample_are_counted_by_the_training_prompts_that_the_artefact_keeps() -> None:
    prompts = toy_prompts()
    artefact = train(prompts, FakeEncoder(), follow_up=no_follow_ups())
    (note,) = router_labels(artefact, FakeEncoder(), [prompts[0].text, "sum of squares"]).notes
    assert note.startswith("labels: IN SAMPLE for 1 of 2 prompts or more, which are among the 300 training prompts")
    (note,) = router_labels(artefact, FakeEncoder(), ["sum of squares"]).notes
    assert note.startswith("labels: by the router as it is; no prompt is one of")


def test_training_rows_of_a_category_that_the_router_lacks_are_refused() -> None:
    with pytest.raises(ValueError, match="--train: r has category 'law', which the router does not have"):
        router_labels(fake_artefact(), FakeEncoder(), ["sum"], [Prompt("a", "law", id="r")])


def test_no_training_row_among_the_prompts_changes_nothing() -> None:
    artefact, texts = fake_artefact(), ["sum a", "select b"]
    found = router_labels(artefact, FakeEncoder(), texts, [Prompt("another thing", "math")])
    np.testing.assert_array_equal(found.labels, router_labels(artefact, FakeEncoder(), texts).labels)
    assert "0 of 2 prompts" in found.notes[0]


@pytest.mark.parametrize("kind", ["linear", "hidden", "neighbours"])
def test_the_recipe_is_read_off_the_artefact(kind: str) -> None:
    recipe = replace(DEFAULTS, kind=kind, num_units=8, tf_idf_weight=0.5)
    artefact = train(toy_prompts(), FakeEncoder(), recipe, follow_up=no_follow_ups())
    found = recipe_of(artefact)
    assert (found.kind, found.tf_idf_weight) == (kind, 0.5)
