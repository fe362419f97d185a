"""Wrong input to `coe router` is one line on stderr and exit code 2, whatever the command: never a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from score_tables import write_score_table

from coe.cli import main

# how each command takes a table; TABLE is replaced by it
READERS = (
    ("train", "TABLE", "--out", "out"),
    ("evaluate", "TABLE"),
    ("evaluate", "good.jsonl", "--folds", "TABLE"),
    ("map", "TABLE"),
    ("map", "good.jsonl", "--costs", "TABLE"),
    ("frontier", "TABLE", "--study"),
    ("stickiness", "TABLE"),
    ("judge", "TABLE", "good.jsonl"),
    ("judge", "map.json", "TABLE", "--true-categories"),
    ("judge", "map.json", "good.jsonl", "--true-categories", "--learn", "TABLE"),
    ("score", "TABLE", "--out", "scores.jsonl", "--config", "none.toml"),
)
TABLES = (
    *("missing.jsonl", "binary.jsonl", "binary.json", "binary.parquet", "binary.jsonl.gz", "binary.csv", "binary"),
    *("empty.jsonl", "empty.csv", "empty", "folder.jsonl", "prose.txt", "other.csv", "number.json"),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of tables that are none, with a good table and a mapping of it."""
    for name in TABLES:
        if name.startswith("binary"):
            (tmp_path / name).write_bytes(bytes(range(256)) * 20)
        elif name.startswith("empty."):
            (tmp_path / name).write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "prose.txt").write_text("a table of words")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "number.json").write_text("7")
    write_score_table(tmp_path / "good.jsonl")
    (tmp_path / "map.json").write_text(json.dumps({"mapping": {"math": "x-7b", "sql": "y-2b"}}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(["router", *words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("coe: ")
    assert len(lines[0]) < 600
    return lines[0]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("reader", READERS, ids=" ".join)
def test_a_table_that_is_none_is_named_in_one_line(reader: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow", reason="the extra `parquet`")
    for table in TABLES:
        assert table in refused(capsys, *(table if word == "TABLE" else word for word in reader))


@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", "good.jsonl"),
        ("map", "good.jsonl"),
        ("judge", "map.json", "good.jsonl"),
        ("stickiness",),
        ("explain", "a prompt"),
    ],
    ids=" ".join,
)
def test_a_router_that_is_none_is_named_in_one_line(
    folder: Path, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "damaged").mkdir()
    (folder / "damaged" / "router.json").write_text('{"format": 4}')
    (folder / "damaged" / "router.safetensors").write_bytes(b"no")
    for artefact in ("missing", "empty", "prose.txt", "damaged"):
        assert artefact in refused(capsys, *command, "--artefact", artefact)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train",), "nothing to train on"),
        (("train", "good.jsonl", "--out", "prose.txt/router", "--split", "dev"), "--split dev: no row is of it"),
        (("evaluate", "good.jsonl", "--split", "dev"), "--split dev: no row is of it"),
        (("evaluate", "good.jsonl", "--device", "abacus"), "torch knows no such device"),
        (("map", "good.jsonl", "--max-mean-active-b", "-1"), "must be above 0"),
        (("map", "good.jsonl", "--expert", "z"), "expert 'z': the table has no scores of it"),
        (("map", "good.jsonl", "--json", "prose.txt/map.json"), "prose.txt"),
        (("frontier", "good.jsonl", "--max-model-b", "0.1"), "no expert of a known size"),
        (("judge", "map.json", "good.jsonl", "--true-categories", "--general", "z"), "no scores of expert 'z'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_says_why(words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in refused(capsys, *words)
