"""`coe router score` gets rows under the names that it knows, whatever a table calls its prompts and categories."""

from __future__ import annotations

from coe.cli.router_commands.score import named_as_scored
from router.labelled.rows import RawRow


def named(*rows: object) -> list[object]:
    return [row.value for row in named_as_scored(RawRow(f"t:{number}", row) for number, row in enumerate(rows, 1))]


def test_questions_and_labels_are_renamed_and_options_are_part_of_the_prompt() -> None:
    for key in ("prompt", "question", "text"):
        (row,) = named({key: "q", "options": ["x", "y"], "subject": "law", "check": "exact", "answer": "x"})
        assert isinstance(row, dict)
        assert (row["prompt"], row["category"], row["answer"]) == ("q\nx\ny", "law", "x")


def test_choices_that_the_check_compares_are_not_appended() -> None:
    row = {"query": "q", "choices": ["x", "y"], "task": "law", "check": "choice", "answer": "x"}
    assert named(row) == [row | {"prompt": "q", "category": "law"}]


def test_prompts_and_conversations_stay_as_they_are() -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    rows = [{"messages": turns, "category": "x"}, {"prompt": "p", "choices": ["x"], "category": "x"}]
    assert named(*rows) == rows


def test_rows_that_cannot_be_used_come_as_their_error() -> None:
    missing, unlabelled, broken = named({"category": "x"}, {"prompt": "p"}, ValueError("not JSON"))
    assert str(missing).startswith("no text in")
    assert str(unlabelled).startswith("no 'category'")
    assert str(broken) == "not JSON"
