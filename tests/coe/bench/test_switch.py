"""`coe bench switch` from end to end on tiny experts: every case is there, answers agree, figures are figures."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_models
import torch
from compositions import write_config
from transformers import AutoModelForCausalLM

from coe.assembly.import_experts import imported_experts
from coe.bench import overlap, switch, synthetic
from coe.bench.cast import synthetic_cast
from coe.bench.stage import cached_bytes, drop_from_page_cache
from coe.bench.synthetic import bytes_of, make_synthetic, write_checkpoint
from coe.bench.variants import make_variants
from coe.cli import main
from coe.config.read import load_config
from coe.errors import ConfigError
from coe.weights.store.unit_store import UnitStore


def test_every_case_is_measured_and_no_answer_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(overlap, "LOADS_S", 0.2)
    monkeypatch.setattr(overlap, "NUM_TOKENS", 6)
    parser = argparse.ArgumentParser()
    switch.add_arguments(parser)
    arguments = parser.parse_args(["--runs", "1", "--experts", "4", "--requests", "6", "--out", str(tmp_path / "out")])
    folder = tiny_models.tiny_llama(tmp_path / "base", num_layers=12)
    config = load_config(write_config(tmp_path, {"base": folder}))
    assert switch.run(config, arguments) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    result = json.loads(last)
    assert result == json.loads((tmp_path / "out" / "switch.json").read_text())
    assert (tmp_path / "out" / "switch.png").stat().st_size > 1000
    cases = {row["case"]: row for row in result["cases"]}
    moved = {name: row["bytes"] for name, row in cases.items() if row["bytes"]}
    size = result["expert_bytes"]
    assert moved["disk, page cache empty"] == moved["disk, page cache warm"] == size
    assert moved["host hit, emulated wire"] == size
    (shared,) = (name for name in moved if name.endswith("shared with a resident"))
    assert 0 < moved[shared] < size
    assert 0 < moved["twice the emulated device, streaming"] <= size
    assert {row["policy"].split(":")[0] for row in result["traffic"]} == {"coe", "paper"}
    assert all(row["num_requests"] == 6 for row in result["traffic"])
    assert [row["copy_over_prefill"] for row in result["overlap"]["capped_wire"]] == [0.5, 1.0, 2.0]
    (sharing,) = result["sharing"]
    check_sharing(sharing)
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


def test_synthetic_weights_are_what_the_shape_says_and_transformers_reads_them(tmp_path: Path) -> None:
    store = UnitStore(tmp_path / "store")
    first, second = (expert.manifest for expert in make_synthetic(store, "tiny", 2))
    assert first.size_bytes == bytes_of("tiny")
    assert not {unit.hash for unit in first.units} & {unit.hash for unit in second.units}
    folder = write_checkpoint(store, first, tmp_path / "checkpoint")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    assert model.num_parameters() == first.num_parameters
    for name, values in model.state_dict().items():
        if values.dim() == 1:
            assert values.unique().tolist() == [1.0], name
        else:
            assert float(values.abs().min()) >= 2**-11, name
            assert float(values.abs().max()) < 2**-7, name
            assert abs(float(values.float().mean())) < 1e-3, name


def test_a_disk_without_room_for_synthetic_experts_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(ConfigError, match=r"1,000 are free.*--experts"):
        synthetic_cast("8b", tmp_path, None, with_checkpoint=True)
    assert not list((tmp_path / "units").iterdir())


def test_the_synthetic_shapes_have_the_sizes_of_the_models_they_are_named_after() -> None:
    assert bytes_of("8b") == pytest.approx(16.06e9, rel=0.001)
    assert bytes_of("1b") == pytest.approx(2.2e9, rel=0.001)


def test_variants_share_what_they_are_told_and_nothing_else_and_are_made_once(
    tmp_path: Path, llama_folder: Path
) -> None:
    store, (base,), _ = imported_experts(load_config(write_config(tmp_path, {"base": llama_folder})))
    made = make_variants(store, base, 3, num_shared=2)
    hashes = [[unit.hash for unit in expert.manifest.units] for expert in (base, *made.experts)]
    assert len({tuple(own[:2]) for own in hashes}) == 1
    assert len({digest for own in hashes for digest in own[2:]}) == 4 * (len(hashes[0]) - 2)
    assert made.import_s > 0
    again = make_variants(store, base, 3, num_shared=2)
    assert again.import_s == 0
    assert [each.manifest for each in again.experts] == [each.manifest for each in made.experts]


def test_mincore_says_what_the_page_cache_holds(tmp_path: Path) -> None:
    file = tmp_path / "unit"
    file.write_bytes(bytes(1 << 20))
    file.read_bytes()
    assert cached_bytes(file) == 1 << 20
    drop_from_page_cache([file])
    assert cached_bytes(file) == 0
