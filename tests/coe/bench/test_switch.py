"""`coe bench switch` from end to end on tiny experts: every case is there, answers agree, figures are figures."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import tiny_models
from compositions import write_config

from coe.bench import overlap, switch
from coe.bench.stage import cached_bytes, drop_from_page_cache
from coe.bench.variants import make_variants
from coe.composition import imported_experts
from coe.config import load_config


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
    assert 0 < moved["disk warm, half shared with a resident"] < size
    assert 0 < moved["twice the emulated device, streaming"] <= size
    assert {row["policy"].split(":")[0] for row in result["traffic"]} == {"coe", "paper"}
    assert all(row["num_requests"] == 6 for row in result["traffic"])
    assert [row["copy_over_prefill"] for row in result["overlap"]["capped_wire"]] == [0.5, 1.0, 2.0]
    assert result["num_outputs_compared"] > 0
    assert any(name.startswith("safetensors") for name in result["rivals_with_same_token"])


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
