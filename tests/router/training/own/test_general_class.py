"""The class of everything else: which prompts, and how easily they win."""

from __future__ import annotations

import numpy as np
import pytest
from router_fakes import FakeEncoder, toy_prompts

from router.training.own.general_class import (
    FAMILY,
    NUM_PROMPTS,
    SHARE_KEPT,
    SHARE_KEPT_UNSEEN,
    general_prompts,
    shift_of,
)
from router.training.training_set import TrainingSet


def test_general_prompts_are_many_distinct_and_in_many_languages() -> None:
    prompts = general_prompts()
    assert len({prompt.text for prompt in prompts}) == len(prompts) == NUM_PROMPTS
    assert {prompt.category for prompt in prompts} == {"general"}
    assert sum(any(ord(letter) > 0x370 for letter in prompt.text) for prompt in prompts) > 30
    assert prompts is general_prompts()


@pytest.mark.parametrize(("has_rows", "share"), [(True, SHARE_KEPT), (False, SHARE_KEPT_UNSEEN)])
def test_the_shift_keeps_that_share_of_general_prompts(has_rows: bool, share: float) -> None:
    rows = TrainingSet.of([*(toy_prompts() if has_rows else ()), *general_prompts()], FakeEncoder(), {"math": "sums"})
    general, judged = rows.categories.index("general"), np.arange(len(rows.labels))
    logits = np.random.default_rng(0).normal(size=(len(judged), len(rows.categories)))
    logits[:, general] += shift_of(rows, judged, logits)
    kept = (logits.argmax(axis=1) == general)[rows.families == FAMILY].mean()
    assert kept == pytest.approx(share, abs=0.01)


def test_without_general_prompts_nothing_is_moved() -> None:
    rows = TrainingSet.of(toy_prompts(), FakeEncoder())
    assert shift_of(rows, np.arange(60), np.ones((60, 2))) == 0.0
