"""An evaluation broken down: figures that can be counted by hand, and none where nothing was counted."""

from __future__ import annotations

import numpy as np

from router.evaluation.breakdown import Outcomes, by_category, confusions, slices
from router.labelled.prompts import Prompt


def outcomes(*rows: tuple[str, str], **fields: str) -> Outcomes:
    """Rows of (true, guessed); the router is sure of what it gets right."""
    prompts = tuple(
        Prompt(f"{'long ' * 40}{at}", true, id=f"r{at}", **fields)  # type: ignore[arg-type]
        for at, (true, _) in enumerate(rows)
    )
    return Outcomes(prompts, np.array([guess for _, guess in rows]), np.array([true == guess for true, guess in rows]))


def test_a_category_is_judged_against_all_others() -> None:
    found = by_category(outcomes(("a", "a"), ("a", "b"), ("b", "b"), ("b", "b"), ("odd", "b")), ["a", "b", "c"])
    a, b, odd = found["a"], found["b"], found["odd"]
    assert (a.num_prompts, a.num_guessed, a.accuracy, a.precision, a.recall, a.f1, a.abstained) == (
        *(2, 1, 0.8, 1.0, 0.5),
        *(2 / 3, 0.5),
    )
    assert (b.precision, b.recall) == (0.5, 1.0)
    assert (odd.precision, odd.recall, odd.f1, odd.is_known) == (None, 0.0, 0.0, False)
    assert set(found) == {"a", "b", "odd"}


def test_a_category_without_rows_has_no_recall_rather_than_a_number() -> None:
    """`evaluate --split all` took means of empty slices."""
    guessed = by_category(outcomes(("a", "b")), ["a", "b"])["b"]
    assert (guessed.num_prompts, guessed.precision, guessed.recall, guessed.abstained) == (0, 0.0, None, None)


def test_confusions_come_by_count_with_a_text_only_where_the_licence_allows_it() -> None:
    rows = (("a", "b"), ("a", "a"), ("b", "a"), ("b", "a"))
    first, second = confusions(outcomes(*rows))
    assert (first.true, first.predicted, first.count, first.example) == ("b", "a", 2, "r2")
    assert second.count == 1
    assert first.text is not None
    assert len(first.text) == 80
    assert {pair.text for pair in confusions(outcomes(*rows, license="CC-BY-SA-4.0"))} == {None}


def test_parts_are_reported_only_where_there_are_several() -> None:
    found = outcomes(("a", "a"), ("a", "b"), language="de")
    assert slices(found, lambda prompt: prompt.language) == {}
    by_id = slices(found, lambda prompt: prompt.id)
    assert [(row.num_prompts, row.accuracy, row.abstained) for row in by_id.values()] == [(1, 1, 0), (1, 0, 1)]
