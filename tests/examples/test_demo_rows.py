"""The demo's rows as they stand in the data, and as `coe router score` reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coe.scoring.checks import TEXT_CHECKS, can_still_match
from coe.scoring.labelled import labelled_rows
from examples.demo.labelled_set import labelled
from examples.demo.rows import DEFAULT_DATA, Row, load_rows
from router.labelled.rows import read_rows

DOMAINS = ("code", "intent", "math", "medicine", "reasoning", "sql", "tools")


@pytest.fixture(scope="module")
def real_rows() -> list[Row]:
    if not DEFAULT_DATA.is_file():
        pytest.skip(f"no data at {DEFAULT_DATA}: it stays out of the repository")
    return load_rows(DEFAULT_DATA, experts=DOMAINS, split="test")


def test_every_reference_passes_its_own_check(real_rows: list[Row]) -> None:
    judged = [row for row in real_rows if row.check != "loss"]
    assert len(judged) > 1000
    assert [row.id for row in judged if not TEXT_CHECKS[row.check](row.answer, row.gold)] == []


def test_generation_never_stops_before_a_reference_is_complete(real_rows: list[Row]) -> None:
    for row in real_rows:
        if row.check in ("exact", "sql_normalised"):
            cuts = range(0, len(row.answer) + 1, 7)
            assert all(can_still_match(row.check, row.answer[:cut], row.gold) for cut in cuts), row.id


def test_row_ids_are_distinct_and_do_not_depend_on_order(real_rows: list[Row]) -> None:
    assert len({row.id for row in real_rows}) == len(real_rows)
    again = load_rows(DEFAULT_DATA, experts=["intent"], split="test")
    assert {row.id for row in again} <= {row.id for row in real_rows}


def test_a_missing_file_or_domain_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="--data"):
        load_rows(tmp_path / "none.jsonl.gz", experts=["sql"], split="test")


def test_every_row_is_one_that_the_command_takes(tmp_path: Path, real_rows: list[Row]) -> None:
    file = tmp_path / "labelled.jsonl"
    file.write_text("".join(json.dumps(labelled(row)) + "\n" for row in real_rows))
    found = labelled_rows(read_rows(file), file)
    assert found.bad_rows == ()
    assert [row.id for row in found.rows] == [row.id for row in real_rows]
    assert [row.prompt for row in found.rows] == [row.prompt for row in real_rows]
