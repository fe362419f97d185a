"""`coe bench engine --device cuda` on a CPU, replays run again in captures' place: every figure is there."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from compositions import write_config
from decode_steps import Replayer
from processors import fake_processor

import coe.assembly.wire
from coe.bench.engine.device_engine import run_on
from coe.cli import main
from coe.config.read import load_config
from coe.errors import ConfigError


def test_every_figure_of_every_expert(
    tmp_path: Path, llama_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    derive = coe.assembly.wire.derive_budgets
    fake_processor(monkeypatch, device="emulated", has_pages=True, has_compiler=False)
    monkeypatch.setattr(coe.assembly.wire, "CudaRecorder", lambda _: Replayer())
    monkeypatch.setattr(
        coe.assembly.wire, "derive_budgets", lambda *words: replace(derive(*words), graph_bytes=16 << 20)
    )
    config = load_config(write_config(tmp_path, {"general": llama_folder}, 'kv_bytes = "8MB"'))
    asked = {"expert": None, "quick": True, "batches": None, "prompts": [20, 80], "tokens": 12, "runs": 1}
    arguments = argparse.Namespace(**asked, out=tmp_path / "out", json=None, synthetic=["tiny"])
    assert run_on(torch.device("cpu"), lambda _: Replayer(), config, arguments) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["hardware"]["cpu"]
    assert result == json.loads((tmp_path / "out" / "engine-device.json").read_text())
    assert [each["expert"] for each in result["experts"]] == ["general", "tiny-1"]
    for each in result["experts"]:
        places = [(cell["is_captured"], cell["prompt_tokens"], cell["batch_size"]) for cell in each["cells"]]
        assert places == [(way, length, size) for way in (True, False) for length in (20, 80) for size in (1, 2)]
        assert all(cell["decode_tokens_per_s"] > 0 for cell in each["cells"])
        assert all((cell["fraction_of_ceiling"] is None) == (cell["batch_size"] > 1) for cell in each["cells"])
        assert all(ratio["decode"] > 0 for ratio in each["captured_over_eager"])
        assert each["backend"] == "llama/cuda/f32" if each["expert"] == "general" else "llama/cuda/bf16"
        assert {profile["backend"] for profile in each["profiles_batch_1"]} == {each["backend"]}
        assert [profile["context"] for profile in each["profiles_batch_1"]] == [20, 80]
        assert all(profile["captured_ms"] > 0 and profile["kernels"] for profile in each["profiles_batch_1"])
    general, synthetic = result["experts"]
    assert all(cell["same_tokens"] == 1.0 for cell in general["cells"])
    assert general["weight_bytes_per_token"] == general["weight_bytes"]  # tied: all of the embedding is the head too
    assert synthetic["weight_bytes_per_token"] < synthetic["weight_bytes"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_without_a_gpu_it_says_so(tmp_path: Path, llama_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path, {"general": llama_folder})
    assert main(["bench", "engine", "-c", str(config), "--device", "cuda", "--quick"]) == 2
    assert "torch sees no CUDA device" in capsys.readouterr().err


def test_a_size_that_there_is_not_is_named(tmp_path: Path, llama_folder: Path) -> None:
    config = load_config(write_config(tmp_path, {"general": llama_folder}, 'kv_bytes = "8MB"'))
    asked = {"expert": None, "quick": True, "batches": [1], "prompts": [8], "tokens": 2, "runs": 1}
    arguments = argparse.Namespace(**asked, out=None, json=None, synthetic=["7b"])
    with pytest.raises(ConfigError, match="--synthetic 7b: the sizes are 8b, 1b"):
        run_on(torch.device("cpu"), lambda _: Replayer(), config, arguments)
