"""The rules by which answers are judged, on answers of the kinds that occur in data."""

from __future__ import annotations

import pytest

from coe.scoring.checks import CHECKS, TEXT_CHECKS, can_still_match, last_number, normalised_sql


def test_last_number_takes_the_last_one_without_separators() -> None:
    assert last_number("48 + 24 = 72 clips, so $1,072.50.\n#### 1,072.50") == 1072.5
    assert last_number("from 5 to -3") == -3
    assert last_number("no digits") is None


def test_a_number_is_equal_however_it_is_written() -> None:
    assert TEXT_CHECKS["last_number"]("The answer is $1,200.00.", "1200")
    assert not TEXT_CHECKS["last_number"]("The answer is 1201", "1200")
    assert not TEXT_CHECKS["last_number"]("I do not know", "1200")


def test_a_reference_without_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="holds no number"):
        TEXT_CHECKS["last_number"]("12", "twelve")


def test_sql_is_equal_but_for_case_quotes_spacing_and_semicolon() -> None:
    assert TEXT_CHECKS["sql_normalised"](
        "select a.x from t as a\nwhere (a.y='ANN')", 'SELECT a.x FROM t AS a WHERE ( a.y = "ANN" ) ;'
    )
    assert not TEXT_CHECKS["sql_normalised"]("SELECT y FROM t", "SELECT x FROM t")
    assert normalised_sql("SELECT COUNT( * )  FROM t ;") == "select count ( * ) from t"


def test_exact_ignores_white_space_only() -> None:
    assert TEXT_CHECKS["exact"](" (A)\n", "(A)")
    assert not TEXT_CHECKS["exact"]("(a)", "(A)")
    assert not TEXT_CHECKS["exact"]("(A) because", "(A)")


def test_first_word_ignores_what_follows() -> None:
    assert TEXT_CHECKS["first_word"]("Yes, it does.", "yes")
    assert not TEXT_CHECKS["first_word"]("Maybe yes", "yes")
    assert not TEXT_CHECKS["first_word"]("", "yes")


def test_generation_stops_where_an_answer_cannot_pass_any_more() -> None:
    assert not can_still_match("exact", "To", "(A)")
    assert not can_still_match("sql_normalised", "```", "SELECT x FROM t ;")
    assert can_still_match("sql_normalised", "select  X\nfrom", "SELECT x FROM t ;")
    assert can_still_match("last_number", "To solve this", "72")


@pytest.mark.parametrize("check", TEXT_CHECKS)
def test_no_beginning_of_a_right_answer_is_given_up(check: str) -> None:
    answers = {"last_number": "It is 7, so 1,200", "first_word": "Yes, it is", "exact": " (A)  b\n"}
    answer = answers.get(check, "select  X\nFROM t where y='Ann' ;")
    gold = {"last_number": "1200", "first_word": "yes", "exact": "(A) b"}.get(check, 'SELECT x FROM t WHERE y = "ann"')
    assert TEXT_CHECKS[check](answer, gold)
    kept = [cut for cut in range(len(answer) + 1) if can_still_match(check, answer[:cut], gold)]
    # a first word is known once the second has begun, and what follows does not matter
    assert kept == list(range(len(answer) + 1)) or (check == "first_word" and kept[-1] >= len("Yes,"))


def test_every_check_is_named_once() -> None:
    assert len(set(CHECKS)) == len(CHECKS) == 6
