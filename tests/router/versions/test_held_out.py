"""Both are asked about rows that neither saw; near-duplicates never stand on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from router_fakes import FakeEncoder, no_follow_ups

from router.labelled.duplicates import groups_of
from router.labelled.prompts import Prompt
from router.labelled.training_record import read_record, write_record
from router.model.artefact import Artefact
from router.training.recipe import DEFAULTS, Recipe
from router.versions import held_out as module
from router.versions.held_out import Served, Training, held_out
from router.versions.remembered import RememberedEncoder

NOUNS = ["rose", "oak", "fern", "moss", "ivy", "lily", "elm", "pine", "reed", "yew", "ash", "fig"]
ENCODER = RememberedEncoder(FakeEncoder())
LINEAR = Recipe(kind="linear")
TRAINING = Training(ENCODER, LINEAR, {}, no_follow_ups())


def rows(word: str, category: str, nouns: Sequence[str] = NOUNS) -> list[Prompt]:
    return [Prompt(f"{word} the {noun} number {at}", category, f"{word}{at}") for at, noun in enumerate(nouns)]


@dataclass(frozen=True, slots=True)
class Watched(Training):
    """A training that remembers the rows it was given."""

    seen: list[list[str]] = field(default_factory=list)

    def on(self, prompts: Sequence[Prompt]) -> Artefact:
        self.seen.append([prompt.text for prompt in prompts])
        return Training.on(self, prompts)


def watched(recipe: Recipe = LINEAR) -> Watched:
    return Watched(ENCODER, recipe, {}, no_follow_ups())


def served_on(prompts: Sequence[Prompt], folder: Path, training: Training = TRAINING) -> Served:
    write_record(folder, [prompt.text for prompt in prompts], asdict(training.recipe), {})
    return Served(TRAINING.on(prompts), ENCODER, read_record(folder), training)


def test_new_rows_are_answered_by_the_served_router_and_by_candidates_without_them(tmp_path: Path) -> None:
    old, new = [*rows("sum", "math"), *rows("select", "sql")], rows("sue", "law")
    served, candidate, stand_in = served_on(old, tmp_path), watched(), watched()
    prompts = [*old, *new]
    found = held_out(prompts, replace(served, training=stand_in), candidate)
    assert found.rows.tolist() == list(range(len(prompts)))
    assert set(found.old.categories[len(old) :].tolist()) <= {"math", "sql"}  # it knows no law
    assert (found.new.categories[len(old) :] == "law").mean() > 0.8
    assert len(candidate.seen) == len(stand_in.seen) == 5
    groups = dict(zip((prompt.text for prompt in prompts), groups_of([p.text for p in prompts]), strict=True))
    for candidates_rows, stand_ins_rows in zip(candidate.seen, stand_in.seen, strict=True):
        missing = set(groups) - set(candidates_rows)
        assert {groups[text] for text in missing}.isdisjoint(groups[text] for text in candidates_rows)
        assert {prompt.text for prompt in old} - set(stand_ins_rows) == missing & {prompt.text for prompt in old}
        assert not {prompt.text for prompt in new} & set(stand_ins_rows)


def test_rows_in_sample_are_left_out_where_no_stand_in_can_be_trained(tmp_path: Path) -> None:
    """The served router has .99 on its own rows: against them every candidate, judged out of fold, would lose."""
    old, new = [*rows("sum", "math"), *rows("select", "sql")], rows("sue", "law")
    served = served_on(old, tmp_path)
    without_one = [*old[1:], *new]
    found = held_out(without_one, served, TRAINING)
    assert found.rows.tolist() == list(range(len(old) - 1, len(without_one)))
    assert "not all rows that it was trained on are here" in found.notes[-1]


def test_without_a_record_rows_are_known_by_their_vectors() -> None:
    old, new = [*rows("sum", "math"), *rows("select", "sql")], rows("sue", "law")
    found = held_out([*old, *new], Served(TRAINING.on(old), ENCODER), TRAINING)
    assert found.rows.tolist() == list(range(len(old), len(old) + len(new)))
    assert "its record is not there" in found.notes[-1]


def test_near_duplicates_of_the_served_routers_rows_are_in_sample(tmp_path: Path) -> None:
    long = "please select every row of the table of {} that was changed since the day before yesterday at noon"
    old = [*rows("sum", "math"), *rows("select", "sql"), Prompt(long.format("roses"), "sql", "long")]
    served = served_on(old, tmp_path)
    near = Prompt(long.format("roses") + " thanks", "sql", "near")
    found = held_out([*old[1:], near, *rows("sue", "law")], served, TRAINING)
    assert len(old) - 1 not in found.rows.tolist()


def test_a_category_that_can_spare_no_prompt_is_not_judged(tmp_path: Path) -> None:
    old = [*rows("sum", "math"), *rows("select", "sql")]
    new = [*rows("sue", "law"), Prompt("bake a cake", "food", "cake")]
    described = replace(TRAINING, recipe=DEFAULTS)
    found = held_out([*old, *new], served_on(old, tmp_path), described)
    assert found.rows.tolist() == list(range(len(old) + len(new) - 1))
    few = [*old, *rows("sue", "law", NOUNS[:8])]
    assert held_out(few, served_on(old, tmp_path), TRAINING).rows.tolist() == list(range(len(old)))


def test_of_many_rows_a_fifth_is_held_out_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = [*rows("sum", "math"), *rows("select", "sql")]
    candidate = watched()
    served = served_on(old, tmp_path)
    monkeypatch.setattr(module, "MANY_ROWS", 10)
    found = held_out([*old, *rows("sue", "law")], served, candidate)
    assert len(candidate.seen) == 1
    assert 5 <= len(found.rows) <= 9
    assert "a seeded fifth, once" in found.notes[0]


def test_the_same_seed_holds_out_the_same_rows() -> None:
    prompts = [*rows("sum", "math"), *rows("select", "sql")]
    groups = np.array(groups_of([prompt.text for prompt in prompts]))
    judged = np.ones(len(prompts), np.bool_)
    folds = module.folds_of(prompts, groups, judged, 0)
    np.testing.assert_array_equal(folds, module.folds_of(prompts, groups, judged, 0))
    assert (folds != module.folds_of(prompts, groups, judged, 1)).any()
    for category in ("math", "sql"):
        sizes = np.bincount(folds[[prompt.category == category for prompt in prompts]], minlength=5)
        assert sizes.min() >= 2
