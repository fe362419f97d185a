"""`coe bench switch` from end to end on tiny experts: every case is there, answers agree, figures are figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from compositions import write_config

from coe.bench.switch import overlap
from coe.cli import main


def test_every_case_is_measured_and_no_answer_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(overlap, "LOADS_S", 0.2)
    monkeypatch.setattr(overlap, "NUM_TOKENS", 6)
    folder = tiny_models.tiny_llama(tmp_path / "base", num_layers=12)
    config = write_config(tmp_path, {"base": folder})
    words = ["--runs", "1", "--experts", "4", "--requests", "6", "--out", str(tmp_path / "out")]
    assert main(["bench", "switch", "-c", str(config), *words]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    result = json.loads(last)
    assert result == json.loads((tmp_path / "out" / "switch.json").read_text())
    assert (tmp_path / "out" / "switch.png").stat().st_size > 1000
    cases = {row["case"]: row for row in result["cases"]}
    moved = {name: row["bytes"] for name, row in cases.items() if row["bytes"]}
    size = result["expert_bytes"]
    assert moved["disk, page cache empty"] == moved["disk, page cache warm"] == size
    assert moved["host hit, emulated copy link"] == size
    (shared,) = (name for name in moved if name.endswith("shared with a resident"))
    assert 0 < moved[shared] < size
    assert 0 < moved["twice the emulated device, streaming"] <= size
    assert {row["policy"].split(":")[0] for row in result["traffic"]} == {"coe", "paper"}
    assert all(row["num_requests"] == 6 for row in result["traffic"])
    assert [row["copy_over_prefill"] for row in result["overlap"]["capped_copy_link"]] == [0.5, 1.0, 2.0]
    (sharing,) = result["sharing"]
    check_sharing(sharing)
    assert result["hardware"]["cpu"]
    assert result["backends"].keys() == {"v01", "v02", "v03", "v04", "s01", "s02", "s03"}
    assert sharing["backends"].keys() == {"s01", "s02", "s03"}
    assert set((result["backends"] | sharing["backends"]).values()) == {"llama/cpu-compiled/f32"}
    assert result["num_outputs_compared"] > 0
    assert any(name.startswith("safetensors") for name in result["rivals_with_same_token"])


def check_sharing(row: dict[str, Any]) -> None:
    """Each byte is moved once and is there once; without sharing every expert has all of its own."""
    shared, apart = row["with_sharing"], row["without_sharing"]
    assert set(apart.values()) == {row["num_experts"] * row["expert_bytes"]}
    assert len(set(shared.values())) == 1
    saved = 1 - shared["read_bytes"] / apart["read_bytes"]
    assert saved == pytest.approx(row["shared_share"], abs=1e-3)
    assert 0 < saved < 1


def test_synthetic_experts_need_no_configuration_and_are_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # no coe.toml here
    arguments = ["bench", "switch", "--synthetic", "tiny", "--runs", "1", "--dir", str(tmp_path / "store")]
    made: list[set[Path]] = []
    for sections in (["rivals", "sharing"], []):
        assert main([*arguments, "--sections", *sections]) == 0
        result = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert result["num_outputs_different"] == 0
        assert result["num_experts"] == 2
        made.append({file for file in (tmp_path / "store" / "units").rglob("*") if file.is_file()})
        assert "overlap" not in result
        if sections:
            check_sharing(result["sharing"][0])
            assert any("from_pretrained" in row["case"] for row in result["cases"])
    assert made[0] == made[1] != set()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_gpu_that_is_not_there_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "store"
    assert main(["bench", "switch", "--synthetic", "8b", "--device", "cuda", "--dir", str(folder)]) != 0
    assert "sees no CUDA device" in capsys.readouterr().err
    assert not folder.exists()


def test_an_expert_that_cannot_stream_is_measured_in_every_other_case_and_named_with_its_backend(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, {"base": tiny_models.tiny_gpt2(tmp_path / "gpt2")})
    words = ["--runs", "1", "--experts", "2", "--sections", "rivals", "-c", str(config)]
    assert main(["bench", "switch", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("left out: twice the emulated device, streaming: ") for line in lines)
    result = json.loads(lines[-1])
    assert set(result["backends"].values()) == {"transformers/torch/f32"}
    cases = [row["case"] for row in result["cases"]]
    assert not any("streaming" in case for case in cases)
    assert sum("disk" in case for case in cases) == 3
    assert result["num_outputs_different"] == 0


def test_overlap_of_one_expert_is_refused_before_anything_is_measured(
    tmp_path: Path, llama_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, {"base": llama_folder})
    assert main(["bench", "switch", "--experts", "1", "-c", str(config)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "--experts 1: overlap needs two" in captured.err
