"""`coe bench grammar` measures every schema and every batch, and its answers are of their schemas."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from compositions import write_config

from coe.bench import grammar


def test_every_schema_and_batch_has_figures(
    tmp_path: Path, llama_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    grammar.add_arguments(parser)
    arguments = parser.parse_args(
        ["--batches", "1", "3", "--tokens", "5", "--runs", "1", "--out", str(tmp_path / "out")]
    )
    arguments.config = write_config(tmp_path, {"general": llama_folder})
    assert grammar.run(arguments) == 0
    result = json.loads((tmp_path / "out" / "grammar.json").read_text())
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == result
    assert [each["schema"] for each in result["masks"]] == list(grammar.CASES)
    assert all(each["mask_p95_ms"] >= each["mask_p50_ms"] > 0 and each["compile_ms"] > 0 for each in result["masks"])
    assert [(each["batch_size"], each["num_with"]) for each in result["steps"]] == [
        (1, 0),
        (1, 1),
        (3, 0),
        (3, 1),
        (3, 3),
    ]
