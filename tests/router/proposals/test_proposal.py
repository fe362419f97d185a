"""Proposals: categories by topic, the expert nearest to each, near-duplicates once, nothing forced on an expert."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from router_fakes import FakeEncoder
from sklearn.metrics import adjusted_rand_score

from router.labelled.descriptions import read_descriptions
from router.labelled.prompts import Prompt, read_prompts
from router.proposals.catalogue import Catalogue, Entry
from router.proposals.proposal import LEAST_FIT, name_of, proposed, surety

LABEL_SETS = Path(__file__).parents[4] / "shared" / "data" / "label_sets"
TOPICS = ("wine", "tax", "goal", "poem", "leaf")
FILLERS = [f"{one}{other}" for one in "abcdefgh" for other in "stuvwxyz"]
CATALOGUE = Catalogue(
    (Entry("cellar", "wine"), Entry("office", "tax"), Entry("sports", "goal"), Entry("idle", "quartz"))
)


def prompts_about(topics: tuple[str, ...] = TOPICS, num: int = 24) -> list[Prompt]:
    chance = random.Random(0)
    return [
        Prompt(" ".join([topic, topic, topic, *chance.sample(FILLERS, 2)]), "", f"{topic}{number}")
        for topic in topics
        for number in range(num)
    ]


def test_categories_are_topics_and_go_to_the_expert_that_is_about_them() -> None:
    prompts = prompts_about()
    found = proposed(CATALOGUE, prompts, FakeEncoder(), 5)
    by_name = {category.name: category for category in found.categories}
    assert {name: by_name[name].expert for name in ("cellar", "office", "sports")} == {
        "cellar": "cellar",
        "office": "office",
        "sports": "sports",
    }
    assert sorted(category.terms[0].split()[0] for category in found.categories if not category.expert) == [
        "leaf",
        "poem",
    ]
    assert found.assigned[:24] == ("cellar",) * 24
    assert found.unused == ("idle",)
    assert all(category.share == pytest.approx(0.2) for category in found.categories)
    assert all(len(category.examples) == 3 for category in found.categories)
    assert all(category.margin >= 0 for category in found.categories)


def test_near_duplicates_count_once_and_labels_are_not_read() -> None:
    prompts = prompts_about()
    longer = Prompt("wine wine wine w1 w2 please tell me number 1 of 2", "x")
    copies = [Prompt(f"Wine wine wine w1 w2 please tell me number {number} of 2", "y") for number in range(200)]
    found = proposed(CATALOGUE, [*prompts, longer, *copies], FakeEncoder(), 5)
    assert found.num_distinct == len(prompts) + 1
    assert set(found.assigned[-200:]) == {"cellar"}


def test_several_categories_may_share_an_expert_under_names_of_their_own() -> None:
    catalogue = Catalogue((Entry("arts", "poem goal"), Entry("office", "tax")))
    found = proposed(catalogue, prompts_about(), FakeEncoder(), 5)
    shared = [category.name for category in found.categories if category.expert == "arts"]
    assert len(shared) >= 2
    assert all(name.startswith("arts_") for name in shared)
    assert len({category.name for category in found.categories}) == 5


def test_a_text_that_may_not_be_quoted_is_shown_by_its_id() -> None:
    prompts = [Prompt(each.text, "", each.id, license="CC-BY-NC-4.0") for each in prompts_about()]
    found = proposed(CATALOGUE, prompts, FakeEncoder(), 5)
    assert all(example[-1].isdigit() and " " not in example for each in found.categories for example in each.examples)


def test_names_come_from_experts_and_terms() -> None:
    assert name_of("law", ["court"], alone=True) == "law"
    assert name_of("law", ["high court", "judge"], alone=False) == "law_high_court"
    assert name_of(None, ["red wine", "grape", "oak"], alone=False) == "red_wine_grape"
    assert name_of(None, [], alone=False) == "unnamed"


def test_the_margin_is_the_distance_to_another_decision() -> None:
    assert surety(np.array([0.5, 0.3])) == pytest.approx((0.5, 0.2))
    assert surety(np.array([0.5, 0.1])) == pytest.approx((0.5, 0.5 - LEAST_FIT))
    assert surety(np.array([0.05])) == pytest.approx((0.05, LEAST_FIT - 0.05))


@pytest.mark.skipif(not LABEL_SETS.is_dir(), reason="the shared tables are not on this machine")
def test_prompts_in_fifteen_languages_are_grouped_by_topic(tmp_path: Path) -> None:
    from router.encoding.cached_encoder import load_encoder

    prompts = [each for each in read_prompts(LABEL_SETS / "exams.jsonl.gz").prompts if len(each.text) < 300][:300]
    sentences = read_descriptions(LABEL_SETS / "exams.descriptions.json")
    catalogue = Catalogue(tuple(Entry(name, sentence) for name, sentence in sentences.items()))
    found = proposed(catalogue, prompts, load_encoder("multilingual-e5-small", cache=tmp_path), 8)
    subjects, languages = [each.category for each in prompts], [each.language for each in prompts]
    assert adjusted_rand_score(subjects, found.assigned) > 0.3
    assert adjusted_rand_score(languages, found.assigned) < 0.15
