"""The file of results: it only grows, and survives being cut short."""

from __future__ import annotations

from pathlib import Path

import pytest

from coe.errors import ConfigError
from coe.scoring.results import Result, Results

FIRST = Result("k1", "x", "row 1", 1.0, "Grüße \u2028 and\nmore", (-1.5, -2.0))
SECOND = Result("k2", "x", "row 2", None, error="too long")


def test_what_was_added_is_known_when_opened_again(tmp_path: Path) -> None:
    file = tmp_path / "new" / "results.jsonl"
    with Results(file) as results:
        results.add(FIRST)
        results.add(SECOND)
    with Results(file) as again:
        assert dict(again.known) == {"k1": FIRST, "k2": SECOND}


def test_a_line_that_was_cut_off_is_dropped_and_the_next_one_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    with Results(file) as results:
        results.add(FIRST)
    file.write_bytes(file.read_bytes() + b'{"key": "k2", "exp')
    with Results(file) as again:
        assert list(again.known) == ["k1"]
        again.add(SECOND)
    with Results(file) as results:
        assert dict(results.known) == {"k1": FIRST, "k2": SECOND}


@pytest.mark.parametrize("line", ["{}", "[]", "nonsense", '{"key": "k", "logprobs": [], "colour": 1}'])
def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path: Path, line: str) -> None:
    file = tmp_path / "results.jsonl"
    file.write_text(line + "\n")
    with pytest.raises(ConfigError, match=r"results\.jsonl:1 is no result.*--results"):
        Results(file)
    assert file.read_text() == line + "\n"
