"""Described categories beside a trained router."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from router_fakes import FakeEncoder, toy_prompts

from router.labelled.prompts import Prompt
from router.model.scores import score
from router.training.own.beside import with_described
from router.training.recipe import Recipe
from router.training.train import train

ENCODER = FakeEncoder()
TOLD = {"garden": "plants lawns pests"}


def extended(examples: tuple[Prompt, ...] = (), served: tuple[str, ...] = ("math", "sql")):  # type: ignore[no-untyped-def]
    prompts = [replace(prompt, may_be_shown=True) for prompt in toy_prompts()]
    trained = train(prompts, ENCODER, Recipe(kind="linear"))
    return with_described(trained, TOLD, examples, served, ENCODER)


def best(artefact, text: str) -> str:  # type: ignore[no-untyped-def]
    probabilities = score(artefact, ENCODER.encode([text]), [text]).probabilities[0]
    np.testing.assert_allclose(probabilities.sum(), 1, rtol=1e-5)
    return str(artefact.categories[int(probabilities.argmax())])


def test_a_description_takes_its_prompts_and_leaves_the_trained_ones() -> None:
    artefact = extended((Prompt("lawns pests", "garden"), Prompt("plants pests", "garden")))
    assert artefact.categories == ("math", "sql", "garden")
    assert best(artefact, "plants lawns") == "garden"
    assert best(artefact, "sum red red") == "math"
    assert best(artefact, "select green red") == "sql"


def test_examples_move_a_described_category() -> None:
    prompt = "zebra yodel quartz"
    assert best(extended(tuple(Prompt(f"{prompt} {n}", "garden") for n in range(20))), prompt) == "garden"


def test_an_example_of_another_category_is_refused() -> None:
    with pytest.raises(ValueError, match="category 'sql', which is no expert with a description"):
        extended((Prompt("select", "sql"),))


def test_what_a_configuration_describes_is_never_saved(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(AssertionError):
        extended().save(tmp_path)
