"""The price of a switch: gains against seconds of loading, budgets, what is unknown, and what it needs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from coe.types import CostTerm, Snapshot
from router.directory import Directory
from router.mapping import MappingFile, read_mapping_file
from router.switch_price import SwitchPrice

DIRECTORY = Directory({"a-1b": "a-1b", "b-2b": "b-2b", "alias": "b-2b"}, "a-1b")
GOOD = {
    "mapping": {"x": "a-1b"},
    "expected_scores": {"x": {"a-1b": 0.5, "b-2b": 0.4}},
    "active_b": {"a-1b": 1, "b-2b": 2},
}
EXPERTS = ("sql", "maths", "small", "general")
SCORES = {
    "sql": {"sql": 0.80, "maths": 0.78, "small": 0.75, "general": 0.10},
    "math": {"sql": 0.20, "maths": 0.60, "small": 0.59, "general": 0.30},
}
ACTIVE = {"sql": 2.0, "maths": 4.0, "small": 1.0, "general": 2.0}
SQL = {"sql": 1.0, "math": 0.0, "law": 0.0}


def price(score_per_second: float, active_b: dict[str, float] | None = None) -> SwitchPrice:
    return SwitchPrice(score_per_second, MappingFile({}, SCORES, active_b or {}))


def here(*names: str) -> Snapshot:
    """These experts are ready, the others two seconds away."""
    return Snapshot({name: 0.0 if name in names else 2.0 for name in EXPERTS})


def chosen(one: SwitchPrice, snapshot: Snapshot, probabilities: dict[str, float] = SQL) -> str | None:
    cost = one.weigh(probabilities, "sql", snapshot)
    return None if cost is None else cost.chosen


def read(folder: Path, content: object) -> MappingFile:
    path = folder / "mapping.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_mapping_file(path).checked(("x", "y"), DIRECTORY)


@pytest.mark.parametrize(
    ("score_per_second", "ready", "expert"),
    [
        (0.0099, ("maths", "small"), "sql"),  # two seconds cost less than the .02 that sql gains
        (0.01, ("maths", "small"), "sql"),  # of equals the mapped one
        (0.0101, ("maths", "small"), "maths"),
        (0.026, ("small",), "small"),
        (0.026, ("small", "maths"), "maths"),  # the best of those that are here
        (0.026, ("small", "maths", "sql"), "sql"),  # the mapped expert is here itself
        (9.0, (), "sql"),  # a load has to be paid for in any case
        (0.34, ("general",), "sql"),
        (0.36, ("general",), "general"),
    ],
)
def test_a_better_expert_is_loaded_only_when_its_gain_exceeds_the_price(
    score_per_second: float, ready: tuple[str, ...], expert: str
) -> None:
    assert chosen(price(score_per_second), here(*ready)) == expert


def test_a_shorter_load_counts_as_one() -> None:
    assert chosen(price(0.02), Snapshot({"sql": 3.0, "maths": 1.0, "small": 3.0})) == "maths"


def test_the_term_says_what_was_weighed() -> None:
    assert price(0.02).weigh(SQL, "sql", here("maths")) == CostTerm(0.02, "sql", 0.80, 2.0, "maths", 0.78, 0.0)
    assert price(0.02).weigh(SQL, "sql", here()) == CostTerm(0.02, "sql", 0.80, 2.0, "sql", 0.80, 2.0)
    assert price(0.0).weigh(SQL, "sql", here("maths")) is None


def test_scores_are_expected_under_the_probabilities_of_categories_that_have_some() -> None:
    cost = price(0.001).weigh({"sql": 0.45, "math": 0.05, "law": 0.5 - 0.01}, "sql", here(*EXPERTS))
    assert cost is None  # law is likeliest, and nothing is known of it
    cost = price(0.001).weigh({"sql": 0.45, "math": 0.15, "law": 0.4}, "sql", here(*EXPERTS))
    assert cost is not None
    assert cost.mapped_score == pytest.approx((0.45 * 0.8 + 0.15 * 0.2) / 0.6)
    assert (cost.chosen, cost.chosen_score) == ("maths", pytest.approx((0.45 * 0.78 + 0.15 * 0.6) / 0.6))


def test_no_expert_with_more_active_parameters_is_taken() -> None:
    """The mapping was learned under a budget on them, and it holds whatever is resident."""
    assert chosen(price(0.05, ACTIVE), here("maths", "small")) == "small"
    assert chosen(price(0.05, ACTIVE), here("maths")) == "sql"
    assert chosen(price(0.001, ACTIVE), here(*EXPERTS), {"sql": 0.6, "math": 0.4}) == "small"


def test_a_broken_expert_or_one_of_unknown_seconds_is_not_taken() -> None:
    assert chosen(price(0.05), replace(here("maths"), broken={"maths"})) == "sql"
    assert chosen(price(0.05), Snapshot({"sql": 2.0})) == "sql"
    assert chosen(price(0.05), Snapshot({"maths": 0.0})) is None
    assert chosen(price(0.05), replace(here("maths"), broken={"sql"})) is None


def test_a_mapped_expert_without_an_expected_score_is_refused_unless_it_is_off(tmp_path: Path) -> None:
    learned = read(tmp_path, GOOD)
    with pytest.raises(ValueError, match=r"score_per_second 0\.1 needs the expected score of 'b-2b' on 'y'"):
        SwitchPrice(0.1, learned).check({"x": "a-1b", "y": "b-2b"}, "a-1b")
    SwitchPrice(0.1, learned).check({"x": "b-2b", "y": "a-1b"}, "a-1b")
    SwitchPrice(0.0, learned).check({"y": "b-2b"}, "a-1b")


@pytest.mark.parametrize("value", [-0.1, float("inf"), float("nan")])
def test_a_price_out_of_range_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"score_per_second .*: must be 0, which turns it off, or above"):
        SwitchPrice(value)
