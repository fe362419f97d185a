"""Labelled prompts: what a row means, and which rows are left out by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coe.errors import ConfigError
from coe.scoring.labelled import LabelledRow, LabelledSet, labelled_rows
from coe.types import Message

FILE = Path("labelled.jsonl")
GOOD: dict[str, Any] = {"prompt": "2 + 2?", "category": "math", "check": "last_number", "answer": 4}


def read(*rows: object) -> LabelledSet:
    return labelled_rows([(f"labelled.jsonl:{number}", row) for number, row in enumerate(rows, 1)], FILE)


def one(**changes: object) -> LabelledRow:
    (row,) = read({**GOOD, **changes}).rows
    return row


def test_a_prompt_and_a_conversation_are_the_same_question() -> None:
    row = one()
    assert row.messages == (Message("user", "2 + 2?"),)
    assert (row.reference, row.check, row.category, row.id) == ("4", "last_number", "math", "labelled.jsonl:1")
    talk = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "It is 4"}]
    said = {key: value for key, value in GOOD.items() if key not in ("prompt", "answer")}
    (same,) = read({**said, "messages": talk}).rows
    assert same.messages == row.messages
    assert same.reference == "It is 4"
    assert one(messages=talk[:1], id="a").digest == row.digest  # id and place are not part of the question
    assert one(answer=5).digest != row.digest


def test_choices_are_answered_by_text_or_number() -> None:
    choices = ["Paris", "Rome"]
    row = one(check="choice", choices=choices, answer=1)
    assert (row.reference, row.choices) == ("Rome", ("Paris", "Rome"))
    assert one(check="choice", choices=choices, answer="Rome").reference == "Rome"
    (unnamed,) = read({"prompt": "?", "category": "a", "choices": choices, "answer": 0}).rows
    assert unnamed.check == "choice"


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (ValueError("not JSON (Expecting value)"), "not JSON (Expecting"),
        ([1], "a list, not an object"),
        ({**GOOD, "check": "vibes"}, "unknown check 'vibes'; checks are last_number"),
        ({key: value for key, value in GOOD.items() if key != "check"}, "unknown check None"),
        ({**GOOD, "answer": None}, "no 'answer'"),
        ({**GOOD, "answer": " "}, "no 'answer'"),
        ({key: value for key, value in GOOD.items() if key != "answer"}, "no 'answer'"),
        ({**GOOD, "answer": "four"}, "holds no number"),
        ({**GOOD, "prompt": " "}, "no text in 'prompt'"),
        ({**GOOD, "category": 3}, "no text in 'category'"),
        ({**GOOD, "messages": "hello"}, "not a list"),
        ({**GOOD, "messages": [{"role": "robot", "content": "hi"}]}, "roles"),
        ({**GOOD, "messages": []}, "no user turn"),
        ({**GOOD, "messages": [{"role": "assistant", "content": "hi"}]}, "no user turn"),
        ({**GOOD, "max_tokens": 0}, "max_tokens 0"),
        ({**GOOD, "check": "choice"}, "needs 'choices'"),
        ({**GOOD, "check": "choice", "choices": ["a"]}, "at least two"),
        ({**GOOD, "check": "choice", "choices": ["a", "a"]}, "twice"),
        ({**GOOD, "check": "choice", "choices": ["a", "b"], "answer": 2}, "none of the choices"),
        ({**GOOD, "check": "choice", "choices": ["a", "b"], "answer": True}, "none of the choices"),
    ],
)
def test_a_bad_row_is_left_out_by_name_and_stops_no_other(row: object, why: str) -> None:
    found = read(GOOD, row, GOOD)
    assert len(found.rows) == 2
    (bad,) = found.bad_rows
    assert bad.where == "labelled.jsonl:2"
    assert why in bad.why


def test_without_a_good_row_the_first_bad_one_is_named() -> None:
    with pytest.raises(
        ConfigError, match=r"labelled\.jsonl has no row that can be used of 1; the first is left out because: unknown"
    ):
        read({**GOOD, "check": "vibes"})
    with pytest.raises(ConfigError, match=r"no row that can be used of 0$"):
        read()


def test_a_row_of_a_table_means_what_it_means_in_jsonl() -> None:
    """A table has a cell for every column; CSV has texts only, so lists stand in it as JSON."""
    cells = {"prompt": "2 + 2?", "messages": "", "category": "math", "check": "last_number", "answer": "4"}
    empty = {"choices": None, "max_tokens": "", "id": None}
    assert read({**cells, **empty}).rows == (one(),)
    assert read({**cells, "max_tokens": "64"}).rows[0].max_tokens == 64
    talk = json.dumps([{"role": "user", "content": "2 + 2?"}])
    assert read({**cells, "prompt": "", "messages": talk}).rows == (one(),)
    choice = {"prompt": "?", "category": "a", "check": "", "choices": '["Paris", "Rome"]', "answer": "Rome"}
    assert read(choice).rows[0].choices == ("Paris", "Rome")
    (bad,) = read(GOOD, {**choice, "choices": "Paris or Rome"}).bad_rows
    assert "needs 'choices', a list" in bad.why
