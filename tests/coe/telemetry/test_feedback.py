"""The file of feedback: rows are whole whoever appends, also after a torn one, and the file has an end."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from coe.errors import FeedbackError
from coe.telemetry.feedback import FeedbackFile, Said


def test_rows_of_many_threads_are_whole(tmp_path: Path) -> None:
    file = tmp_path / "feedback.jsonl"

    def append(name: str) -> None:
        for at in range(50):
            FeedbackFile(file).append(Said(f"{name}{at}", True, comment="\u20ac" * 500))

    threads = [threading.Thread(target=append, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert {row["id"] for row in rows} == {f"{name}{at}" for name in "abcd" for at in range(50)}
    assert all(row["comment"] == "\u20ac" * 500 for row in rows)
    assert file.stat().st_mode & 0o077 == 0


def test_a_row_says_what_was_said_and_no_more(tmp_path: Path) -> None:
    file = FeedbackFile(tmp_path / "feedback.jsonl")
    file.append(Said("r1", False, "law"))
    row = json.loads(file.path.read_text())
    assert row.pop("time").endswith("Z")
    assert row == {"id": "r1", "right": False, "category": "law"}


def test_a_torn_row_spoils_no_other(tmp_path: Path) -> None:
    file = FeedbackFile(tmp_path / "feedback.jsonl")
    file.path.write_text('{"id": "torn", "ri')
    file.append(Said("r1", True))
    torn, whole = file.path.read_text().splitlines()
    assert torn == '{"id": "torn", "ri'
    assert json.loads(whole)["id"] == "r1"


def test_a_full_file_and_one_that_cannot_be_written_say_so_and_stay_as_they_are(tmp_path: Path) -> None:
    file = FeedbackFile(tmp_path / "feedback.jsonl", max_bytes=100)
    file.append(Said("r1", True))
    before = file.path.read_text()
    with pytest.raises(FeedbackError, match=r"of 100 bytes; move it away \(\[telemetry\] feedback_file"):
        file.append(Said("r2", True))
    assert file.path.read_text() == before
    with pytest.raises(FeedbackError, match="No such file or directory"):
        FeedbackFile(tmp_path / "nowhere" / "feedback.jsonl").append(Said("r1", True))
