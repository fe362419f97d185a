"""`coe bench engine` on a tiny model: every figure is there, with the backend that made it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_models
from compositions import write_config

from coe.cli import main


def test_command_writes_what_it_measured(
    tmp_path: Path, llama_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, {"general": llama_folder})
    words = ["--quick", "--no-transformers", "--batches", "1", "2", "--prompts", "8", "--out", str(tmp_path / "out")]
    assert main(["bench", "engine", "-c", str(config), *words]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["hardware"]["cpu"]
    assert result["backend"] == result["profile_batch_1"]["backend"] == "llama/cpu-compiled/f32"
    assert result == json.loads((tmp_path / "out" / "engine-float32.json").read_text())
    assert [(cell["batch_size"], cell["prompt_tokens"]) for cell in result["cells"]] == [(1, 8), (2, 8)]
    assert all(cell["decode_tokens_per_s"] > 0 and cell["same_tokens"] == 1.0 for cell in result["cells"])
    assert 0 <= result["profile_batch_1"]["fraction_outside_matmuls"] < 1
    assert (tmp_path / "out" / "engine-float32.png").stat().st_size > 0


def test_an_expert_of_another_architecture_is_named_with_its_backend_and_has_no_profile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, {"general": tiny_models.tiny_gpt2(tmp_path / "gpt2")})
    words = ["--quick", "--no-transformers", "--batches", "1", "--prompts", "8", "--tokens", "2"]
    assert main(["bench", "engine", "-c", str(config), *words]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["backend"] == "transformers/torch/f32"
    assert result["profile_batch_1"] is None


def test_unknown_expert_is_named(tmp_path: Path, llama_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path, {"general": llama_folder})
    assert main(["bench", "engine", "-c", str(config), "--expert", "sql"]) == 2
    assert "--expert sql: the experts are general" in capsys.readouterr().err
