"""The rules by which the demo's answers are judged, on answers of the kinds that occur in the data."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.demo.checks import CHECKS, can_still_match, last_number, normalised_sql
from examples.demo.rows import DEFAULT_DATA, Row, load_rows

DOMAINS = ("code", "intent", "math", "medicine", "reasoning", "sql", "tools")


@pytest.fixture(scope="module")
def real_rows() -> list[Row]:
    if not DEFAULT_DATA.is_file():
        pytest.skip(f"no data at {DEFAULT_DATA}: it stays out of the repository")
    return load_rows(DEFAULT_DATA, experts=DOMAINS, split="test")


def test_last_number_takes_the_last_one_without_separators() -> None:
    assert last_number("48 + 24 = 72 clips, so $1,072.50.\n#### 1,072.50") == 1072.5
    assert last_number("from 5 to -3") == -3
    assert last_number("no digits") is None


def test_a_number_is_equal_however_it_is_written() -> None:
    assert CHECKS["last_number"]("The answer is $1,200.00.", "1200")
    assert not CHECKS["last_number"]("The answer is 1201", "1200")
    assert not CHECKS["last_number"]("I do not know", "1200")


def test_a_reference_without_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="holds no number"):
        CHECKS["last_number"]("12", "twelve")


def test_sql_is_equal_but_for_case_quotes_spacing_and_semicolon() -> None:
    assert CHECKS["sql_normalised"](
        "select a.x from t as a\nwhere (a.y='ANN')", 'SELECT a.x FROM t AS a WHERE ( a.y = "ANN" ) ;'
    )
    assert not CHECKS["sql_normalised"]("SELECT y FROM t", "SELECT x FROM t")
    assert normalised_sql("SELECT COUNT( * )  FROM t ;") == "select count ( * ) from t"


def test_exact_ignores_white_space_only() -> None:
    assert CHECKS["exact"](" (A)\n", "(A)")
    assert not CHECKS["exact"]("(a)", "(A)")
    assert not CHECKS["exact"]("(A) because", "(A)")


def test_first_word_ignores_what_follows() -> None:
    assert CHECKS["first_word"]("Yes, it does.", "yes")
    assert not CHECKS["first_word"]("Maybe yes", "yes")
    assert not CHECKS["first_word"]("", "yes")


def test_every_reference_passes_its_own_check(real_rows: list[Row]) -> None:
    judged = [row for row in real_rows if row.check != "loss"]
    assert len(judged) > 1000
    assert [row.id for row in judged if not CHECKS[row.check](row.answer, row.gold)] == []


def test_generation_never_stops_before_a_reference_is_complete(real_rows: list[Row]) -> None:
    for row in real_rows:
        if row.check in ("exact", "sql_normalised"):
            cuts = range(0, len(row.answer) + 1, 7)
            assert all(can_still_match(row.check, row.answer[:cut], row.gold) for cut in cuts), row.id


def test_generation_stops_where_an_answer_cannot_pass_any_more() -> None:
    assert not can_still_match("exact", "To", "(A)")
    assert not can_still_match("sql_normalised", "```", "SELECT x FROM t ;")
    assert can_still_match("sql_normalised", "select  X\nfrom", "SELECT x FROM t ;")
    assert can_still_match("last_number", "To solve this", "72")


def test_row_ids_are_distinct_and_do_not_depend_on_order(real_rows: list[Row]) -> None:
    assert len({row.id for row in real_rows}) == len(real_rows)
    again = load_rows(DEFAULT_DATA, experts=["intent"], split="test")
    assert {row.id for row in again} <= {row.id for row in real_rows}


def test_a_missing_file_or_domain_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="--data"):
        load_rows(tmp_path / "none.jsonl.gz", experts=["sql"], split="test")
