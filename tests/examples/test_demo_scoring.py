"""The scorebook and the comparisons, with answers that are made up."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from examples.demo import scorebook
from examples.demo.answers import Result
from examples.demo.choose_experts import choose
from examples.demo.rows import Row
from examples.demo.score_experts import compare, compare_routed, counted, read_choices

ROWS = [
    Row(f"{domain}-{n}", domain, "test", f"prompt {n}", "a", "a", "exact", "") for domain in "xy" for n in range(20)
]


@dataclass
class FakeBook:
    """The base knows nothing; an expert knows every row of its own domain and no other."""

    asked: list[tuple[str, str]] = field(default_factory=list)

    def results(self, expert: str, rows: Sequence[Row]) -> Mapping[str, Result]:
        self.asked += [(expert, row.id) for row in rows]
        return {row.id: Result(row.id, float(row.expert == expert)) for row in rows}


class FakeAnswerer:
    """Counts how often a model is loaded."""

    num_loaded = 0

    def __init__(self, *_arguments: object) -> None:
        FakeAnswerer.num_loaded += 1

    def results(self, rows: Sequence[Row]) -> Iterator[list[Result]]:
        yield [Result(row.id, 1.0, answer="é\n") for row in rows]


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> scorebook.Scorebook:
    monkeypatch.setattr(scorebook, "Answerer", FakeAnswerer)
    FakeAnswerer.num_loaded = 0
    (tmp_path / "adapters" / "x").mkdir(parents=True)
    (tmp_path / "adapters" / "x" / "adapter_model.safetensors").write_bytes(b"weights")
    return scorebook.Scorebook(tmp_path, tmp_path / "adapters", tmp_path / "scores", torch.device("cpu"))


def test_a_known_result_is_not_computed_again(book: scorebook.Scorebook) -> None:
    first = dict(book.results("x", ROWS[:5]))
    assert dict(book.results("x", ROWS[:5])) == first
    assert FakeAnswerer.num_loaded == 1
    assert len(book.results("x", ROWS[:8])) == 8
    assert FakeAnswerer.num_loaded == 2


def test_results_of_other_weights_are_not_reused(book: scorebook.Scorebook) -> None:
    book.results("x", ROWS[:5])
    (book.adapters / "x" / "adapter_model.safetensors").write_bytes(b"retrained")
    book.results("x", ROWS[:5])
    assert FakeAnswerer.num_loaded == 2


def test_an_expert_without_an_adapter_is_named(book: scorebook.Scorebook) -> None:
    with pytest.raises(FileNotFoundError, match="train_expert nobody"):
        book.results("nobody", ROWS[:1])


def test_a_comparison_is_better_only_with_its_whole_interval() -> None:
    base = {row.id: Result(row.id, 0.0) for row in ROWS}
    once = base | {ROWS[0].id: Result(ROWS[0].id, 1.0)}
    often = {row.id: Result(row.id, float(index % 2)) for index, row in enumerate(ROWS)}
    assert not compare(ROWS, base, once).beats_base
    assert compare(ROWS, base, often).beats_base
    assert compare(ROWS, base, often).difference == 0.5


def test_likelihoods_are_reported_beside_their_scores() -> None:
    base = {row.id: Result(row.id, 0.1, nll=2.0) for row in ROWS}
    better = {row.id: Result(row.id, 0.4, nll=1.0) for row in ROWS}
    found = compare(ROWS, base, better)
    assert (found.base_nll, found.expert_nll, found.difference) == (2.0, 1.0, 0.3)


def test_the_composition_is_scored_by_whoever_was_chosen() -> None:
    choices = {row.id: row.expert for row in ROWS} | {"x-0": "y", "y-0": "general"}
    routed: Any = compare_routed(FakeBook(), ROWS, choices)
    assert routed.base == 0
    assert routed.composition == routed.difference == 0.95
    assert routed.own_expert == 1
    assert routed.share_own == 0.95
    assert routed.chosen == {"x": {"x": 19, "y": 1}, "y": {"y": 19, "general": 1}}


def test_only_the_chosen_and_the_own_expert_answer_a_row() -> None:
    book = FakeBook()
    compare_routed(book, ROWS, {row.id: row.expert for row in ROWS})
    assert ("y", "x-0") not in book.asked


def test_a_row_without_a_choice_is_refused() -> None:
    with pytest.raises(ValueError, match="20 rows have no choice, the first is y-0"):
        compare_routed(FakeBook(), ROWS, {row.id: "x" for row in ROWS[:20]})


def test_choices_are_read_whatever_else_a_line_says(tmp_path: Path) -> None:
    file = tmp_path / "choices.jsonl"
    file.write_text("".join(json.dumps({"id": row.id, "expert": "x", "why": "category"}) + "\n" for row in ROWS))
    assert read_choices(file) == {row.id: "x" for row in ROWS}


def test_most_chosen_come_first_and_ties_by_name() -> None:
    assert list(counted(["b", "c", "a", "c", "a"]).items()) == [("a", 2), ("c", 2), ("b", 1)]


def test_the_router_sees_the_raw_last_user_turn() -> None:
    seen: list[Any] = []
    router: Any = SimpleNamespace(route=lambda queries: seen.extend(queries) or [None] * len(queries))
    choose(router, ROWS)
    assert [[(turn.role, turn.content) for turn in query.messages] for query in seen] == [
        [("user", row.prompt)] for row in ROWS
    ]
    assert all(query.expert is None for query in seen)
