"""A step taken apart names its backend; an expert that has no parts is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_models
from compositions import write_config

from coe.assembly.import_experts import imported_experts
from coe.bench.step_profile import HandDriven, profile_step, read_unit
from coe.config.read import load_config
from coe.errors import WeightsError


def test_a_profile_names_the_backend_and_what_it_ran(tmp_path: Path, llama_folder: Path) -> None:
    store, (expert,), _ = imported_experts(load_config(write_config(tmp_path, {"llama": llama_folder})))
    profile = profile_step(HandDriven(store, expert.manifest), 2)
    assert profile.backend == "llama/cpu-compiled/f32"
    assert profile.step_ms > 0
    assert 0 <= profile.outside_matmuls < 1
    assert profile.operators


def test_a_unit_is_read_whole(tmp_path: Path, llama_folder: Path) -> None:
    store, (expert,), _ = imported_experts(load_config(write_config(tmp_path, {"llama": llama_folder})))
    for unit in expert.manifest.units:
        assert read_unit(store, unit).numpy().tobytes() == store.path(unit).read_bytes()[: unit.size_bytes]


def test_an_expert_of_another_architecture_cannot_be_taken_apart(tmp_path: Path) -> None:
    folder = tiny_models.tiny_gpt2(tmp_path / "gpt2")
    store, (expert,), _ = imported_experts(load_config(write_config(tmp_path, {"gpt2": folder})))
    with pytest.raises(WeightsError, match="cannot be taken apart"):
        HandDriven(store, expert.manifest)
