"""Warnings name the category, the number and the remedy, and sound data gives none."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from router_fakes import FakeEncoder, no_follow_ups, toy_prompts

from router.labelled.duplicates import groups_of
from router.labelled.prompts import Prompt
from router.model.abstain import AbstainRule
from router.model.artefact import Artefact
from router.model.scores import score
from router.training.out_of_fold import Calibration, CrossValidated, OutOfFold
from router.training.train import train
from router.training.training_set import TrainingSet
from router.training.training_warnings import templates_in, warnings_about

WORDS = [
    "red",
    "green",
    "blue",
    "grey",
    "pink",
    "gold",
    "teal",
    "navy",
    "rose",
    "lime",
    "plum",
    "rust",
    "sand",
    "snow",
    "wine",
    "moss",
    "sky",
    "ash",
    "clay",
    "corn",
    "salt",
    "mint",
    "fig",
    "oak",
    "elm",
    "fern",
    "lake",
    "moon",
    "star",
    "wind",
    "rain",
    "leaf",
    "stone",
    "river",
    "cloud",
    "field",
    "road",
    "boat",
    "bird",
]


def natural(category: str, topic: str, num: int, seed: int = 0) -> list[Prompt]:
    """Prompts in which the topic's word stands somewhere among others."""
    chance = random.Random(f"{category}{seed}")
    found = []
    for number in range(num):
        words = [*chance.sample(WORDS, chance.randint(3, 7)), topic]
        chance.shuffle(words)
        found.append(Prompt(" ".join(words), category, f"{category}{number}"))
    return found


def templated(category: str, forms: Sequence[str], num: int) -> list[Prompt]:
    chance = random.Random(category)
    texts = [
        forms[at % len(forms)].format(chance.choice(WORDS), chance.choice(WORDS), chance.randint(1, 9999))
        for at in range(num)
    ]
    return [Prompt(text, category, f"{category}{at}") for at, text in enumerate(texts)]


def trained(prompts: Sequence[Prompt], **descriptions: str) -> Artefact:
    return train(prompts, FakeEncoder(), follow_up=no_follow_ups(), descriptions=descriptions)


def warnings_of(artefact: Artefact) -> list[str]:
    return list(artefact.metrics.get("warnings", []))


def test_sound_data_gives_no_warning() -> None:
    prompts = [*natural("math", "sum", 60), *natural("sql", "select", 60)]
    artefact = trained(prompts)
    assert warnings_of(artefact) == []
    assert "warnings" not in artefact.metrics


def test_toy_prompts_of_two_words_are_no_templates() -> None:
    texts = [prompt.text for prompt in toy_prompts() if prompt.category == "math"]
    assert templates_in(texts, groups_of(texts)).num_forms == 0


def test_forms_of_few_templates_are_told_with_their_numbers() -> None:
    forms = (
        "what is the total of {0} and {1} please",
        "tell me how many {0} are in {2}",
        "add the {0} to the {1} for me",
    )
    prompts = [*templated("math", forms, 180), *natural("math", "sum", 20), *natural("sql", "select", 200)]
    (told,) = [line for line in warnings_of(trained(prompts)) if "forms of" in line]
    assert told.startswith("category 'math': 180 of 200 prompts are forms of 3 templates;")
    assert "add prompts as people write them" in told


def test_near_duplicates_are_one_template() -> None:
    texts = [f"please read meter number {number} in the cellar and write the value down" for number in range(30)]
    assert templates_in(texts, groups_of(texts)) == (30, 1)


def test_templates_that_are_always_right_do_not_silence_the_router() -> None:
    """Two templates were told apart with certainty, the threshold became 1.0, and every prompt as people write it
    abstained while the reported accuracy was 1.0."""
    prompts = [
        *templated("math", ("what is the sum of {0} and {1} and {2}",), 200),
        *templated("sql", ("please select {0} from {1} where the id is {2}",), 200),
    ]
    artefact = trained(prompts)
    assert artefact.metrics["out_of_fold_accuracy"] == 1.0
    assert artefact.abstain.min_confidence <= 0.5
    others = [*natural("math", "sum", 60, seed=1), *natural("sql", "select", 60, seed=1)]
    texts = [prompt.text for prompt in others]
    found = score(artefact, FakeEncoder().encode(texts), texts)
    assert artefact.abstain.is_sure(found.confidence).mean() > 0.5
    assert [line.split(":")[0] for line in warnings_of(artefact)] == ["category 'math'", "category 'sql'"]
    assert all("200 of 200 prompts are forms of one template" in line for line in warnings_of(artefact))


def test_a_tiny_category_is_told_unless_it_is_described() -> None:
    prompts = [*natural("math", "sum", 40), *natural("sql", "select", 40), *natural("law", "court", 4)]
    (told,) = warnings_of(trained(prompts))
    assert told.startswith("category 'law': 4 distinct prompts and no description; add prompts")
    assert warnings_of(trained(prompts, law="court judge contract")) == []


def test_a_dwarfed_category_is_told() -> None:
    prompts = [*natural("math", "sum", 130), *natural("sql", "select", 130), *natural("law", "court", 6)]
    (told,) = [line for line in warnings_of(trained(prompts)) if "times as many" in line]
    assert told.startswith("category 'law': 6 distinct prompts, and '")
    assert "more than 20 times as many; add prompts of 'law'" in told


def judged(logits: np.ndarray, rule: AbstainRule) -> list[str]:
    """Warnings about 20 natural prompts of each of two categories, with these logits out of fold."""
    prompts = [*natural("math", "sum", 20), *natural("sql", "select", 20)]
    rows = TrainingSet.of(prompts, FakeEncoder())
    scores = OutOfFold(np.arange(40), logits)
    return warnings_about(rows, CrossValidated(scores, scores, 0.0), Calibration(1.0, rule), {})


def likely(column: int, logit: float) -> list[float]:
    return [logit, 0.0] if column == 0 else [0.0, logit]


def test_a_category_that_the_threshold_silences_is_told() -> None:
    sure, unsure = 4.0, 0.1
    math = [likely(0, unsure if row < 6 else sure) for row in range(20)]
    (told,) = judged(np.array(math + [likely(1, sure)] * 20), AbstainRule(0.6))
    assert told.startswith("category 'math': 6 of 20 held-out prompts are below the threshold of 0.600")
    assert "lower --abstain-target" in told
    math[5] = math[4] = likely(0, sure)
    assert judged(np.array(math + [likely(1, sure)] * 20), AbstainRule(0.6)) == []


@pytest.mark.parametrize(("threshold", "num_told"), [(0.9, 1), (0.89, 0)])
def test_a_threshold_that_nearly_everything_misses_is_told(threshold: float, num_told: int) -> None:
    told = judged(np.array([likely(row // 20, 4.0) for row in range(40)]), AbstainRule(threshold))
    assert [line.startswith("the threshold is 0.900") for line in told] == [True] * num_told


@pytest.mark.parametrize(("num_wrong", "num_told"), [(6, 1), (5, 0)])
def test_categories_that_are_taken_for_each_other_are_told(num_wrong: int, num_told: int) -> None:
    guesses = [1] * num_wrong + [0] * (20 - num_wrong) + [0] * 8 + [1] * 12
    told = judged(np.array([likely(guess, 4.0) for guess in guesses]), AbstainRule(0.5))
    assert len(told) == num_told
    for line in told:
        assert line.startswith("categories 'math' and 'sql' are hardly told apart: 6 of 20 prompts of 'math'")
        assert "8 of 20 the other way; merge them" in line
