"""`coe experts quantize --report` on tiny models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from compositions import write_config

from coe.cli import main
from coe.models.matmul import int8_is_exact

pytestmark = pytest.mark.skipif(not int8_is_exact(), reason="this processor's int8 matmuls overflow")


def test_report_says_what_int8_costs_and_gains(
    tmp_path: Path, llama_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, {"general": llama_folder})
    text = tmp_path / "text.txt"
    text.write_text("The quick brown fox jumps over the lazy dog. " * 30)
    assert main(["experts", "quantize", "--report", "-c", str(config), "--text", str(text)]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    (loss,) = result["experts"]
    assert result["hardware"]["cpu"]
    assert (loss["backend_full"], loss["backend_int8"]) == ("llama/cpu-compiled/f32", "llama/cpu-compiled/int8")
    assert loss["num_tokens"] > 256  # more than one window
    assert loss["bytes_int8"] < loss["bytes_full"]
    assert loss["perplexity_int8"] != loss["perplexity_full"]
    assert 0.5 < loss["perplexity_int8"] / loss["perplexity_full"] < 2
    assert 0.5 < loss["greedy_agreement"] <= 1


def test_unreadable_text_is_named(tmp_path: Path, llama_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path, {"general": llama_folder})
    assert main(["experts", "quantize", "-c", str(config), "--text", str(tmp_path / "no.txt")]) == 2
    assert "no.txt cannot be read" in capsys.readouterr().err
