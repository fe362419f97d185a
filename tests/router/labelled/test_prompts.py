"""Labelled prompts: what a row means, in every format, and which rows are bad."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from router.labelled.balance import report
from router.labelled.prompts import Prompt, read_prompts

ROWS = [
    {"prompt": "add 2 and 2", "category": "math", "permissive": False, "split": "test"},
    {"messages": [{"role": "user", "content": "translate this"}], "category": "translation"},
    {"prompt": None, "category": "math"},
    {"prompt": "no label", "category": None},
]


def test_the_three_formats_read_alike(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n")
    (tmp_path / "p.csv").write_text(
        "\ufeffprompt,messages,category,permissive,split\nadd 2 and 2,,math,False,test\n"
        ',"[{""role"": ""user"", ""content"": ""translate this""}]",translation,,\n,,math,,\nno label,,,,\n',
        encoding="utf-8",
    )
    write_parquet(tmp_path / "p.parquet", ROWS)
    found = [read_prompts(tmp_path / f"p.{suffix}") for suffix in ("jsonl", "csv", "parquet")]
    for suffix, read in zip(("jsonl", "csv", "parquet"), found, strict=True):
        assert read.prompts == (
            Prompt("add 2 and 2", "math", f"p.{suffix}:1", is_permissive=False, split="test"),
            Prompt("translate this", "translation", f"p.{suffix}:2"),
        )
        assert [(row.where, row.why) for row in read.bad_rows] == [
            (f"p.{suffix}:3", "no text in 'prompt', and no user turn in 'messages'"),
            (f"p.{suffix}:4", "no 'category'"),
        ]
    assert read_prompts(tmp_path).categories == ("math", "translation")


def write_parquet(path: Path, rows: list[dict[str, object]]) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra `parquet`")
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist(full(rows)), path)


def full(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name) for name in names} for row in rows]


def test_content_in_parts_is_read(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "image_url"}, {"type": "text", "text": "two"}]
    row = {"messages": [{"role": "user", "content": parts}], "category": "x"}
    (tmp_path / "p.jsonl").write_text(json.dumps(row))
    assert read_prompts(tmp_path).prompts[0].text == "one\ntwo"


def test_a_category_that_is_no_name_is_a_bad_row(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"prompt": "a", "category": 7}')
    assert [row.why for row in read_prompts(tmp_path).bad_rows] == ["category 7 is not a name"]


def test_bad_rows_are_counted_and_named(tmp_path: Path) -> None:
    rows: list[object] = [
        {"prompt": "a", "category": "x"},
        {"prompt": "  ", "category": "x"},
        {"prompt": "b"},
        [1],
        {"messages": [{"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}], "category": "y"},
        {"messages": "[broken", "category": "y"},
        {"messages": [{"role": "user", "content": 7}], "category": "y"},
    ]
    with gzip.open(tmp_path / "p.jsonl.gz", "wt") as stream:
        stream.write("\n".join(json.dumps(row) for row in rows) + "\n{broken")
    found = read_prompts(tmp_path / "p.jsonl.gz")
    assert [prompt.text for prompt in found.prompts] == ["a", "c"]
    assert [row.where.split(":")[1] for row in found.bad_rows] == ["2", "3", "4", "6", "7", "8"]
    assert "p.jsonl.gz:3: no 'category'" in report(found)


def test_a_folder_is_read_file_by_file_and_an_empty_one_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no prompts there"):
        read_prompts(tmp_path)
    (tmp_path / "b.csv").write_text('prompt,category\n"a, b",x\n')
    (tmp_path / "a.jsonl").write_text('{"prompt": "c", "category": "y"}\n{}')
    found = read_prompts(tmp_path)
    assert found.prompts == (Prompt("c", "y", id="a.jsonl:1"), Prompt("a, b", "x", id="b.csv:1"))
    assert [row.where for row in found.bad_rows] == ["a.jsonl:2"]


def test_a_users_own_prompt_may_not_be_shown(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"prompt": "c", "category": "y", "may_be_shown": true}')
    assert not read_prompts(tmp_path).prompts[0].may_be_shown
