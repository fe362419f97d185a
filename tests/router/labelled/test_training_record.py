"""The record of a training knows its rows again, and holds none of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.labelled.training_record import digest_of, read_record, write_record


def test_a_record_knows_its_rows_again_and_holds_no_prompt(tmp_path: Path) -> None:
    write_record(tmp_path, ["Water the lawn!", "sue him", "sue him"], {"kind": "linear"}, {"law": "Courts."})
    record = read_record(tmp_path)
    assert record is not None
    assert (record.num_rows, len(record.rows), record.recipe) == (3, 2, {"kind": "linear"})
    assert record.descriptions == {"law": "Courts."}
    assert digest_of("water the LAWN") in record.rows
    assert digest_of("mow the lawn") not in record.rows
    assert "lawn" not in (tmp_path / "training.json").read_text().lower()


def test_no_record_is_none_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    assert read_record(tmp_path) is None
    for text in ("{", "[]", '{"format": 1}', '{"format": 1, "rows": 3}'):
        (tmp_path / "training.json").write_text(text)
        with pytest.raises(ValueError, match=r"training.json: not a record of a training"):
            read_record(tmp_path)
