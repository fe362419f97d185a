"""Labelled prompts: what a row means, in every format, and which rows are bad."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from router.labelled.balance import report
from router.labelled.prompts import Prompt, of_split, read_prompts

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
            (f"p.{suffix}:3", "no text in 'prompt', 'messages', 'question', 'query' or 'text'"),
            (f"p.{suffix}:4", "no 'category', 'label', 'task' or 'subject'"),
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
    (tmp_path / "p.jsonl").write_text('{"prompt": "a", "category": 7}\n{"prompt": "a", "category": "c"}')
    assert [row.why for row in read_prompts(tmp_path).bad_rows] == ["the category is not a name (category 7)"]


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
    told = report(found)
    assert "6 bad rows left out\n  3 x no text in 'prompt', 'messages', 'question', 'query' or 'text': " in told
    assert "1 x no 'category', 'label', 'task' or 'subject': p.jsonl.gz:3" in told


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


def test_a_table_without_a_good_row_is_refused_in_one_line(tmp_path: Path) -> None:
    """A score table under other names was 8,079 lines of bad rows."""
    (tmp_path / "p.jsonl").write_text('{"prompt": "a", "class": "c"}\n' * 5000)
    with pytest.raises(ValueError, match="no row can be used; 5000 bad rows left out: 5000 x no 'category'") as refused:
        read_prompts(tmp_path / "p.jsonl")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(ValueError, match=r"empty\.jsonl: no rows in it"):
        read_prompts(tmp_path / "empty.jsonl")


def test_a_split_is_taken_and_one_that_no_row_is_of_is_refused() -> None:
    prompts = (Prompt("a", "x", split="train"), Prompt("b", "x", split="test"))
    assert of_split(prompts, "test") == prompts[1:]
    assert of_split(prompts, None) == of_split(prompts, "all") == prompts
    with pytest.raises(ValueError, match="--split dev: no row is of it; there are test, train"):
        of_split(prompts, "dev")
