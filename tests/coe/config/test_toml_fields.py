"""Each reader takes what its key may be and refuses the rest with what to write instead."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from coe.config import toml_fields
from coe.config.toml_fields import Reader, boolean, choice, list_of, read_table, real, size, text, whole

HERE = Path("/nowhere")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("24GiB", 24 * 2**30),
        ("500MB", 500_000_000),
        ("2 kB", 2000),
        ("2KiB", 2048),
        ("7B", 7),
        (9, 9),
    ],
)
def test_sizes_are_bytes(written: object, expected: int) -> None:
    assert size(written, HERE) == expected


@pytest.mark.parametrize(
    ("reader", "value", "expected"),
    [
        (size, "12Gb?", "not a size; write a number of bytes"),
        (size, "-3GB", "not a size"),
        (size, 0, "a size must be above zero"),
        (size, True, "not a size"),
        (whole(1, 4096), 1.5, "not a whole number; write 1 to 4096"),
        (whole(1, 4096), 0, "out of range; write 1 to 4096"),
        (whole(0), True, "not a whole number; write 0 or more"),
        (real(0, above=True), float("inf"), "out of range; write a number above 0"),
        (real(0, 1), "3", "not a number; write one at least 0 and at most 1"),
        (real(0, 1), 1.5, "out of range; write a number at least 0 and at most 1"),
        (real(0, above=True), 0, "out of range; write a number above 0"),
        (boolean, "yes", "neither true nor false"),
        (text, "", "not a text"),
        (text, 1, "not a text"),
        (choice("a", "b"), "c", 'write one of "a", "b"'),
        (list_of(text), ["x", 1], "not a text"),
    ],
)
def test_a_wrong_value_says_what_to_write(reader: Reader, value: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=re.escape(expected)):
        reader(value, HERE)


def test_one_bare_item_is_a_list() -> None:
    assert list_of(text)("END", HERE) == ("END",)
    assert list_of(text)(["a", "b"], HERE) == ("a", "b")


def test_a_folder_may_be_new_and_a_file_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert toml_fields.folder_path("new", tmp_path) == tmp_path / "new"
    with pytest.raises(ValueError, match="file is not a folder"):
        toml_fields.folder_path("file", tmp_path)
    with pytest.raises(ValueError, match="gone does not exist; paths are relative to the configuration file"):
        toml_fields.existing_file("gone", tmp_path)
    with pytest.raises(ValueError, match="is not a file; name one"):
        toml_fields.existing_file(".", tmp_path)


def test_a_table_gives_its_values_and_every_problem() -> None:
    raw = {"port": -1, "host": "x", "prot": 2}
    values, problems = read_table(raw, "[server]", {"port": whole(0, 65535), "host": text}, HERE)
    assert values == {"host": "x"}
    assert problems == (
        "[server] port = -1: out of range; write 0 to 65535",
        "unknown key 'prot' in [server]; did you mean 'port'?",
    )


def test_what_is_no_table_is_said_with_its_value() -> None:
    assert read_table(3, "[cache]", {}, HERE).problems == (
        "[cache] = 3: not a table; write it as [cache] with one key a line",
    )
    (problem,) = read_table(date(2024, 1, 2), "[cache]", {}, HERE).problems
    assert "2024-01-02" in problem


def test_a_long_value_is_shortened() -> None:
    (problem,) = read_table({"host": ["x" * 200]}, "[server]", {"host": text}, HERE).problems
    assert len(problem) < 150
