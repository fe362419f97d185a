"""`coe bench answers` reads tables of several shapes; what the cache compares is what the encoder reads whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coe.answers.question import MAX_BYTES
from coe.bench.answers import AskedRow
from coe.cli import main
from coe.cli.bench_answers import rows_of
from router.encoding.encoder import Encoder
from router.labelled.authored import authored_prompts
from router.model.artefact import load_artefact


def test_rows_of_several_shapes(tmp_path: Path) -> None:
    rows = [
        {"text": "one", "label": "l"},
        {"prompt": "two", "category": "math"},
        {"messages": [{"role": "user", "content": "three"}], "expert": "sql", "gold": 3, "check": "exact"},
        {"prompt": "four", "gold": "a story", "check": "loss"},
        {"nothing": 1},
        [],
    ]
    path = tmp_path / "table.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert list(rows_of(path)) == [
        AskedRow("one", "table", "l"),
        AskedRow("two", "math"),
        AskedRow("three", "sql", "3"),
        AskedRow("four", "table"),
    ]


def test_the_command_prints_shares_by_category(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = "Write a SQL query for the atis database:"
    texts = {
        f"{asked} list flights from LAS VEGAS to PHOENIX": "to",
        f"{asked} flights from PHOENIX to LAS VEGAS": "from",
        "I lost my card": "lost",
        "My cat is asleep": "asleep",
    }
    path = tmp_path / "bank.jsonl"
    path.write_text("\n".join(json.dumps({"text": text, "label": label}) for text, label in texts.items()))
    assert main(["bench", "answers", str(path)]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["neighbours"]
    least = next(each for each in found if each["threshold"] == 0.9)
    assert (least["num_prompts"], least["guarded_wrong"]) == (4, 0)
    assert (least["answered"], least["wrong"], least["guarded_answered"]) == (2, 2, 0)


def test_a_table_without_prompts_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bank.jsonl"
    path.write_text('{"text": ""}')
    assert main(["bench", "answers", str(path)]) == 2
    assert "no prompt in" in capsys.readouterr().err


def test_prompts_that_are_compared_are_read_whole() -> None:
    """The encoder leaves out the middle of a long text, where two prompts may differ."""
    encoder = Encoder(load_artefact().encoder_source)
    short = [each.text for each in authored_prompts() if MAX_BYTES // 2 < len(each.text.encode()) <= MAX_BYTES]
    assert len(short) > 100
    assert [text for text in short if encoder.num_tokens(text) > encoder.num_tokens_read(text)] == []
