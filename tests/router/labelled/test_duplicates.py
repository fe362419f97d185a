"""Near-duplicates are found exactly."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from router.labelled.duplicates import MIN_SHARED, groups_of, shingles, wording

MINUTES = (
    "The council met on Tuesday evening and voted seven to two for the new bridge, which will cost about nine million "
    "and open in the spring of the year after next if the weather allows."
)


def pairs_of(keys: list[str]) -> set[tuple[int, int]]:
    return {(a, b) for a, b in combinations(range(len(keys)), 2) if keys[a] == keys[b]}


def test_near_duplicates_are_those_that_comparing_every_pair_finds() -> None:
    """Rare-shingle candidates lose nothing: the groups are the components of the all-pairs graph."""
    rng = np.random.default_rng(0)
    words = [f"w{letter}" for letter in "abcdefghijkl"]
    base = [list(rng.choice(words, rng.integers(1, 25))) for _ in range(25)]
    texts = [" ".join(text) for text in base]
    for text in base * 3:  # edited copies: words changed, dropped, added at the end
        copy = [str(rng.choice(words)) if rng.random() < 0.08 else str(word) for word in text]
        texts.append(" ".join(copy + ["please"] * int(rng.integers(0, 3))))
    sets = [set(shingles(wording(text))) for text in texts]
    component = list(range(len(texts)))
    for a, b in combinations(range(len(texts)), 2):
        if len(sets[a] & sets[b]) >= MIN_SHARED * len(sets[a] | sets[b]):
            old, new = component[b], component[a]
            component = [new if label == old else label for label in component]
    expected = pairs_of([str(label) for label in component])
    assert pairs_of(groups_of(texts)) == expected
    assert len(expected) > 40


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("What is 2 + 2?", "what is 14+3", True),
        ("What is the capital of France?", "What is the capital of Spain?", False),
        (
            "Sort the list of numbers by size and print it",
            "Please sort the list of numbers by size and print it!",
            True,
        ),
        (f"Summarise: {MINUTES}", f"Write a summary of this text: {MINUTES}", True),
        ("把下面的句子翻译成英文:今天天气很好", "请把下面的句子翻译成英文:今天天气很好", True),
        ("把下面的句子翻译成英文", "今天天气很好我们去公园", False),
        ("", "  ?!", True),
        ("lone \ud800 surrogate here", "lone \udfff surrogate here", True),
    ],
)
def test_what_counts_as_a_near_duplicate(one: str, other: str, is_same: bool) -> None:
    first, second = groups_of([one, other])
    assert (first == second) == is_same


def test_a_group_key_depends_on_neither_order_nor_company() -> None:
    texts = ["sort these 10 numbers for me", "sort these 7 numbers for me now", "tell a joke"]
    keys = dict(zip(texts, groups_of(texts), strict=True))
    assert [keys[text] for text in reversed(texts)] == groups_of(list(reversed(texts)))
    assert groups_of(["tell a joke"]) == [keys["tell a joke"]]
    assert groups_of([]) == []


def test_near_duplicates_share_a_group() -> None:
    first, second, other = groups_of(["What is 2 + 2?", "what is 14+3", "What was 2 + 2?"])
    assert first == second != other
