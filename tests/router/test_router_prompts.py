"""Prompts are read from every format or named as bad; near-duplicates are found exactly and counted."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from router.training.balance import balance_of, report
from router.training.duplicates import MIN_SHARED, groups_of, shingles, wording
from router.training.prompts import Prompt, read_prompts

ROWS = [
    {"prompt": "add 2 and 2", "category": "math", "permissive": False, "split": "test"},
    {"messages": [{"role": "user", "content": "translate this"}], "category": "translation"},
    {"prompt": None, "category": "math"},
    {"prompt": "no label", "category": None},
]

MINUTES = (
    "The council met on Tuesday evening and voted seven to two for the new bridge, which will cost about nine million "
    "and open in the spring of the year after next if the weather allows."
)


def pairs_of(keys: list[str]) -> set[tuple[int, int]]:
    return {(a, b) for a, b in combinations(range(len(keys)), 2) if keys[a] == keys[b]}


def test_near_duplicates_are_those_that_comparing_every_pair_finds() -> None:
    """Rare-shingle candidates lose nothing: the groups are the components of the all-pairs graph."""
    rng = np.random.default_rng(0)
    words = [f"w{letter}" for letter in "abcdefghijkl"]
    base = [list(rng.choice(words, rng.integers(1, 25))) for _ in range(25)]
    texts = [" ".join(text) for text in base]
    for text in base * 3:  # edited copies: words changed, dropped, added at the end
        copy = [str(rng.choice(words)) if rng.random() < 0.08 else str(word) for word in text]
        texts.append(" ".join(copy + ["please"] * int(rng.integers(0, 3))))
    sets = [set(shingles(wording(text))) for text in texts]
    component = list(range(len(texts)))
    for a, b in combinations(range(len(texts)), 2):
        if len(sets[a] & sets[b]) >= MIN_SHARED * len(sets[a] | sets[b]):
            old, new = component[b], component[a]
            component = [new if label == old else label for label in component]
    expected = pairs_of([str(label) for label in component])
    assert pairs_of(groups_of(texts)) == expected
    assert len(expected) > 40


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("What is 2 + 2?", "what is 14+3", True),
        ("What is the capital of France?", "What is the capital of Spain?", False),
        (
            "Sort the list of numbers by size and print it",
            "Please sort the list of numbers by size and print it!",
            True,
        ),
        (f"Summarise: {MINUTES}", f"Write a summary of this text: {MINUTES}", True),
        ("把下面的句子翻译成英文:今天天气很好", "请把下面的句子翻译成英文:今天天气很好", True),
        ("把下面的句子翻译成英文", "今天天气很好我们去公园", False),
        ("", "  ?!", True),
        ("lone \ud800 surrogate here", "lone \udfff surrogate here", True),
    ],
)
def test_what_counts_as_a_near_duplicate(one: str, other: str, is_same: bool) -> None:
    first, second = groups_of([one, other])
    assert (first == second) == is_same


def test_a_group_key_depends_on_neither_order_nor_company() -> None:
    texts = ["sort these 10 numbers for me", "sort these 7 numbers for me now", "tell a joke"]
    keys = dict(zip(texts, groups_of(texts), strict=True))
    assert [keys[text] for text in reversed(texts)] == groups_of(list(reversed(texts)))
    assert groups_of(["tell a joke"]) == [keys["tell a joke"]]
    assert groups_of([]) == []


def test_the_balance_counts_distinct_prompts_conflicts_and_straddling() -> None:
    prompts = [
        Prompt("what is 1 plus 1", "math", "a"),
        Prompt("what is 2 plus 2", "math", "b", split="test"),
        Prompt("what is 3 plus 3", "code", "c"),
        Prompt("write a poem", "creative", "d", family="poems"),
    ]
    balance = balance_of(prompts)
    assert [(row.category, row.num_prompts, row.num_distinct) for row in balance.categories] == [
        ("math", 2, 1),
        ("code", 1, 1),
        ("creative", 1, 1),
    ]
    assert (balance.num_prompts, balance.num_distinct) == (4, 2)
    assert balance.conflicts == balance.straddling == (("a (math, train)", "b (math, test)", "c (code, train)"),)
    assert "near-duplicates with different categories: 1 groups" in str(balance)


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


def test_a_line_that_is_no_utf8_is_a_bad_row_and_the_others_are_read(tmp_path: Path) -> None:
    good = b'{"prompt": "a", "category": "x"}'
    (tmp_path / "p.jsonl").write_bytes(good + b'\n{"prompt": "\xff", "category": "x"}\n\n' + good + b"\n")
    found = read_prompts(tmp_path)
    assert [prompt.id for prompt in found.prompts] == ["p.jsonl:1", "p.jsonl:4"]
    assert [row.where for row in found.bad_rows] == ["p.jsonl:2"]
    assert "1 bad rows left out" in report(found)


def test_a_category_that_is_no_name_and_cells_beyond_the_columns_are_bad_rows(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"prompt": "a", "category": 7}')
    (tmp_path / "q.csv").write_text("prompt,category\na,b,c\n")
    assert [row.why for row in read_prompts(tmp_path).bad_rows] == [
        "category 7 is not a name",
        "1 more cells than columns",
    ]


def test_a_long_prompt_fits_a_csv_cell(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(f"prompt,category\n{'x' * 200_000},y\n")
    assert len(read_prompts(tmp_path).prompts[0].text) == 200_000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.jsonl.gz", b"\x1f\x8b\x08\x00broken", "not a whole gzip file"),
        ("p.csv", b"prompt,category\n\xff\xfe,x\n", "not a CSV file in UTF-8"),
        ("p.csv", b"text,label\na,b\n", "its columns are label, text; needed are 'category' and 'prompt'"),
        ("p.csv", b"", "its columns are none"),
        ("p.parquet", b"no", "not a Parquet file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow", reason="the extra `parquet`")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}: {message}"):
        read_prompts(tmp_path)
