"""Training learns, repeats itself, and refuses what it cannot learn from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from router_fakes import FakeEncoder, toy_prompts

from router.labelled.prompts import Prompt
from router.training.recipe import Recipe
from router.training.train import train


def test_training_learns_and_is_deterministic() -> None:
    first, second = train(toy_prompts(), FakeEncoder()), train(toy_prompts(), FakeEncoder())
    assert first.metrics["out_of_fold_accuracy"] > 0.9
    for name, array in first.model.layer.arrays().items():
        np.testing.assert_array_equal(array, second.model.layer.arrays()[name])
    assert first.abstain == second.abstain
    assert first.data["user"] == {"rows": 60, "license": ""}


def test_the_artefact_keeps_the_texts_that_may_be_shown_and_no_other() -> None:
    prompts = [replace(prompt, may_be_shown=prompt.category == "sql") for prompt in toy_prompts()]
    for exemplar in train(prompts, FakeEncoder(), Recipe(kind="linear")).exemplars:
        (prompt,) = (prompt for prompt in prompts if prompt.id == exemplar.id)
        assert exemplar.text == (prompt.text if exemplar.category == "sql" else None)


def test_exemplars_are_bounded() -> None:
    assert len(train(toy_prompts(), FakeEncoder(), Recipe("linear", num_exemplars=10)).exemplars) == 10


def test_one_category_or_too_few_prompts_are_refused() -> None:
    with pytest.raises(ValueError, match="needs two or more"):
        train(toy_prompts()[:30], FakeEncoder())
    with pytest.raises(ValueError, match="category 'law' has 1 distinct prompt"):
        train([*toy_prompts(), Prompt("sue", "law")], FakeEncoder(), Recipe(kind="linear"))


def test_one_prompt_or_a_description_is_enough_for_a_category() -> None:
    learned = train([*toy_prompts(), Prompt("sue", "law")], FakeEncoder(), descriptions={"garden": "plants and lawns"})
    assert learned.categories == ("garden", "general", "law", "math", "sql")
    assert learned.metrics["out_of_fold_accuracy"] > 0.9


def test_warnings_are_looked_for_unless_nobody_reads_them() -> None:
    tiny = [*toy_prompts(), Prompt("sue", "law")]
    assert train(tiny, FakeEncoder()).metrics["warnings"]
    assert "warnings" not in train(tiny, FakeEncoder(), looks_for_warnings=False).metrics


def test_descriptions_alone_make_a_router() -> None:
    described = {"math": "sum red red blue", "sql": "teal navy pink"}
    encoder = FakeEncoder()
    learned = train([], encoder, descriptions=described)
    assert learned.categories == ("general", "math", "sql")
    assert learned.metrics == {}
    assert learned.abstain.min_confidence == 0
    for category, text in described.items():
        logits = learned.model.logits(encoder.encode([text]), [text])
        assert learned.categories[int(logits.argmax())] == category


def test_a_users_own_general_prompts_stand_for_all_of_them() -> None:
    learned = train([*toy_prompts(), Prompt("good day", "general")], FakeEncoder())
    assert set(learned.data) == {"user"}
