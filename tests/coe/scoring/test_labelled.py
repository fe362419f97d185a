"""Reading labelled prompts: what is taken, and what is left out by name."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from coe.errors import ConfigError
from coe.scoring.labelled import LabelledRow, LabelledSet, read_labelled
from coe.types import Message

GOOD: dict[str, Any] = {"prompt": "2 + 2?", "category": "math", "check": "last_number", "answer": 4}


def read(folder: Path, *rows: object) -> LabelledSet:
    file = folder / "labelled.jsonl"
    file.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return read_labelled(file)


def one(folder: Path, **changes: object) -> LabelledRow:
    (row,) = read(folder, {**GOOD, **changes}).rows
    return row


def test_a_prompt_and_a_conversation_are_the_same_question(tmp_path: Path) -> None:
    row = one(tmp_path)
    assert row.messages == (Message("user", "2 + 2?"),)
    assert (row.reference, row.check, row.category, row.id) == ("4", "last_number", "math", "labelled.jsonl:1")
    talk = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "It is 4"}]
    said = {key: value for key, value in GOOD.items() if key not in ("prompt", "answer")}
    (same,) = read(tmp_path, {**said, "messages": talk}).rows
    assert same.messages == row.messages
    assert same.reference == "It is 4"
    assert one(tmp_path, messages=talk[:1], id="a").digest == row.digest  # id and place are not part of the question
    assert one(tmp_path, answer=5).digest != row.digest


def test_choices_are_answered_by_text_or_number(tmp_path: Path) -> None:
    choices = ["Paris", "Rome"]
    row = one(tmp_path, check="choice", choices=choices, answer=1)
    assert (row.reference, row.choices) == ("Rome", ("Paris", "Rome"))
    assert one(tmp_path, check="choice", choices=choices, answer="Rome").reference == "Rome"
    (unnamed,) = read(tmp_path, {"prompt": "?", "category": "a", "choices": choices, "answer": 0}).rows
    assert unnamed.check == "choice"


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("{not json", "Expecting"),
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
def test_a_bad_row_is_left_out_by_name_and_stops_no_other(tmp_path: Path, row: object, why: str) -> None:
    found = read(tmp_path, GOOD, "", row, GOOD)
    assert len(found.rows) == 2
    (bad,) = found.bad_rows
    assert bad.where == "labelled.jsonl:3"
    assert why in bad.why


def test_a_file_without_a_good_row_or_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no row that can be used of 1; the first is left out because: unknown check"):
        read(tmp_path, {**GOOD, "check": "vibes"})
    with pytest.raises(ConfigError, match="cannot be read"):
        read_labelled(tmp_path / "none.jsonl")
    with pytest.raises(ConfigError, match="one JSON object a line"):
        read_labelled(tmp_path / "rows.csv")
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_labelled(tmp_path / "binary.jsonl")


def test_compressed_files_are_read(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl.gz"
    file.write_bytes(gzip.compress(json.dumps(GOOD).encode()))
    assert len(read_labelled(file).rows) == 1
