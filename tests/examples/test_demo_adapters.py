"""What is committed: adapters of the declared shape, small, and each better than the base by its interval."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from coe.config.read import load_config

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo"
ADAPTERS = sorted(folder for folder in (DEMO / "adapters").iterdir() if folder.is_dir())
NUM_LAYERS = 30
# (out, in) of SmolLM2-135M's linear projections
SHAPES = {
    "self_attn.q_proj": (576, 576),
    "self_attn.k_proj": (192, 576),
    "self_attn.v_proj": (192, 576),
    "self_attn.o_proj": (576, 576),
    "mlp.gate_proj": (1536, 576),
    "mlp.up_proj": (1536, 576),
    "mlp.down_proj": (576, 1536),
}
each_adapter = pytest.mark.parametrize("folder", ADAPTERS, ids=lambda folder: folder.name)


def scores() -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((DEMO / "scores.json").read_text())
    return summary


def declared_shapes(rank: int) -> dict[str, list[int]]:
    shapes = {}
    for layer in range(NUM_LAYERS):
        for name, (num_out, num_in) in SHAPES.items():
            prefix = f"base_model.model.model.layers.{layer}.{name}"
            shapes[f"{prefix}.lora_A.weight"] = [rank, num_in]
            shapes[f"{prefix}.lora_B.weight"] = [num_out, rank]
    return shapes


def test_at_least_three_experts_are_shipped() -> None:
    assert len(ADAPTERS) >= 3


def test_all_adapters_together_stay_small() -> None:
    size_bytes = sum(path.stat().st_size for path in (DEMO / "adapters").rglob("*") if path.is_file())
    assert size_bytes <= 25 * 1024**2


@each_adapter
def test_an_adapter_is_two_files(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]


@each_adapter
def test_an_adapter_holds_the_tensors_its_config_declares(folder: Path) -> None:
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert set(config["target_modules"]) == {name.split(".")[1] for name in SHAPES}
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
        found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  # not a dict
        assert {name: part.get_shape() for name, part in found.items()} == declared_shapes(config["r"])
        assert {part.get_dtype() for part in found.values()} == {"BF16"}


@each_adapter
def test_a_trained_adapter_changes_every_projection(folder: Path) -> None:
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
        for name in file.keys():  # noqa: SIM118  # not a dict
            tensor = file.get_tensor(name)
            assert tensor.isfinite().all(), name
            assert tensor.any(), name


@each_adapter
def test_a_shipped_expert_beats_the_base_by_its_interval(folder: Path) -> None:
    result = scores()["experts"][folder.name]
    assert result["num_rows"] >= 100
    assert 0 < result["low"] <= result["difference"] <= result["high"]
    assert result["beats_base"]


def test_the_routed_composition_beats_the_base() -> None:
    routed = scores()["routed"]
    assert set(routed["domains"]) == {folder.name for folder in ADAPTERS}
    assert routed["composition"] > routed["base"]
    assert routed["low"] > 0


def test_scores_say_where_they_come_from() -> None:
    assert {"seed", "num_resamples", "commit", "hardware", "versions", "data_fingerprint"} <= set(scores())


def test_the_config_names_every_adapter_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "demo" / "SmolLM2-135M-Instruct").mkdir(parents=True)
    monkeypatch.setenv("COE_CACHE", str(tmp_path))
    config = load_config(DEMO / "coe.toml")
    assert {expert.name for expert in config.experts} == {"general", *(folder.name for folder in ADAPTERS)}
    assert all(expert.source.folder and expert.source.folder.is_dir() for expert in config.experts)
