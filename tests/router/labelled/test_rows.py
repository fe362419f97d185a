"""Rows of files: every format is read, and what cannot be read is named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from router.labelled.rows import RawRow, read_rows

COLUMNS = (("category",), ("prompt", "messages"))


def test_every_format_yields_the_same_rows_with_their_places(tmp_path: Path) -> None:
    rows = [{"prompt": "a, b", "category": "x"}, {"prompt": "c", "category": "y"}]
    lines = "\n".join(map(json.dumps, rows))
    (tmp_path / "p.jsonl").write_text(lines)
    (tmp_path / "p.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "p.csv").write_text('prompt,category\n"a, b",x\nc,y\n')
    for name in ("p.jsonl", "p.jsonl.gz", "p.csv"):
        assert list(read_rows(tmp_path / name, COLUMNS)) == [
            RawRow(f"{name}:{number}", row) for number, row in enumerate(rows, 1)
        ]
    pyarrow = pytest.importorskip("pyarrow", reason="the extra `parquet`")
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist(rows), tmp_path / "p.parquet")
    assert [row.value for row in read_rows(tmp_path / "p.parquet", COLUMNS)] == rows


def test_a_line_that_is_no_row_comes_as_its_error_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    """Two readers disagreed: to one a blank line was a bad row, to the other a byte that is no UTF-8 a broken file."""
    good = b'{"prompt": "a", "category": "x"}'
    (tmp_path / "p.jsonl").write_bytes(good + b'\n{"prompt": "\xff"}\n\n  \n{broken\n' + good + b"\n")
    first, undecodable, broken, last = read_rows(tmp_path / "p.jsonl")
    assert (first.where, undecodable.where, broken.where, last.where) == (
        "p.jsonl:1",
        "p.jsonl:2",
        "p.jsonl:5",
        "p.jsonl:6",
    )
    assert first.value == last.value
    for bad in (undecodable, broken):
        assert isinstance(bad.value, ValueError)
        assert str(bad.value).startswith("not JSON (")


def test_cells_beyond_the_columns_are_an_error_of_their_row(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("prompt,category\na,b,c\nd,e\n")
    extra, good = read_rows(tmp_path / "p.csv")
    assert str(extra.value) == "more cells than columns (1)"
    assert good.value == {"prompt": "d", "category": "e"}


def test_a_long_prompt_fits_a_csv_cell(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(f"prompt,category\n{'x' * 200_000},y\n")
    assert list(read_rows(tmp_path / "p.csv")) == [RawRow("p.csv:1", {"prompt": "x" * 200_000, "category": "y"})]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.jsonl.gz", b"\x1f\x8b\x08\x00broken", "not a whole gzip file"),
        ("p.csv", b"prompt,category\n\xff\xfe,x\n", "not a CSV file in UTF-8"),
        (
            "p.csv",
            b"text,label\na,b\n",
            "its columns are label, text; needed are 'category' and 'prompt' or 'messages'",
        ),
        ("p.csv", b"", "its columns are none"),
        ("p.parquet", b"no", "not a Parquet file"),
        ("p.pkl", b"", "cannot read this; rows come as .jsonl"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow", reason="the extra `parquet`")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}: {message}"):
        list(read_rows(tmp_path / name, COLUMNS))
    with pytest.raises(FileNotFoundError, match="gone"):
        list(read_rows(tmp_path / "gone.jsonl"))
