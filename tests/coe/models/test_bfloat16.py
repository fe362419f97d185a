"""bfloat16 matrices on a CPU that computes in float32: half the bytes, the same tokens."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import tiny_models
import torch
from compositions import ask, with_runtime, write_config
from processors import fake_processor

from coe.models.cpu.compiled_llama import CompiledLlama
from coe.models.cpu.layer_math import FloatMath
from coe.models.llama.shape import LlamaShape
from coe.runtime import Runtime
from coe.weights.unit import Manifest

PROMPTS = ("What is the capital of France?", "one two three four five six seven " * 8, "SELECT name FROM customers")


@pytest.fixture(autouse=True)
def _no_native_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_processor(monkeypatch, has_bfloat16=False)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    at = tmp_path_factory.mktemp("bfloat16")
    builders = {"llama": tiny_models.tiny_llama, "qwen2": tiny_models.tiny_qwen2, "qwen3": tiny_models.tiny_qwen3}
    return {name: build(at / name, dtype="bfloat16") for name, build in builders.items()}


def config_of(folder: Path, experts: dict[str, Path], dtype: str, device: str = "cpu") -> Path:
    folder.mkdir()
    file = write_config(folder, experts, "max_step_tokens = 40")
    text = file.read_text().replace('dtype = "float32"', f'dtype = "{dtype}"')
    file.write_text(text.replace('device = "cpu"', f'device = "{device}"'))
    return file


def manifests(runtime: Runtime) -> dict[str, Manifest]:
    return {name: served.loaded.manifest for name, served in runtime.experts.served.items()}


def kinds(manifest: Manifest) -> dict[str, set[str]]:
    """safetensors' dtypes by the last part of the tensors' names."""
    found: dict[str, set[str]] = {}
    for unit in manifest.units:
        for spec in unit.tensors:
            found.setdefault(spec.name.removesuffix(".weight").rpartition(".")[2], set()).add(spec.dtype)
    return found


async def answers(runtime: Runtime) -> list[list[int]]:
    pairs = [(name, prompt) for name in runtime.experts.served for prompt in PROMPTS]
    together = list(await asyncio.gather(*(ask(runtime, *pair, 24) for pair in pairs)))
    assert [await ask(runtime, *pair, 24) for pair in pairs] == together
    return together


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_kept_matrices_answer_as_widened_ones_in_half_the_bytes(
    tmp_path: Path, folders: dict[str, Path], device: str
) -> None:
    async def work(runtime: Runtime) -> tuple[list[list[int]], dict[str, Manifest]]:
        return await answers(runtime), manifests(runtime)

    wide, float32 = with_runtime(config_of(tmp_path / "wide", folders, "float32", device), work)
    kept, bfloat16 = with_runtime(config_of(tmp_path / "kept", folders, "auto", device), work)
    assert kept == wide
    for name, manifest in bfloat16.items():
        assert manifest.dtype == "bfloat16"
        assert {kind for part, found in kinds(manifest).items() if "norm" in part for kind in found} == {"F32"}
        assert {
            kind for part, found in kinds(manifest).items() if "proj" in part or "embed" in part for kind in found
        } <= {
            "BF16",
            *(["F32"] if name == "qwen2" else []),  # its biases
        }
        sizes = [sum(spec.size_bytes for u in m.units for spec in u.tensors) for m in (manifest, float32[name])]
        assert sizes[0] < 0.52 * sizes[1]


def test_what_an_adapter_changes_is_float32_and_the_rest_is_shared_with_its_base(
    tmp_path: Path, folders: dict[str, Path]
) -> None:
    adapter = tiny_models.tiny_lora(tmp_path / "lora", folders["llama"], target_modules=("q_proj",))
    experts = {"base": folders["llama"], "tuned": adapter}

    async def work(runtime: Runtime) -> tuple[list[list[int]], dict[str, Manifest]]:
        return await answers(runtime), manifests(runtime)

    kept, found = with_runtime(config_of(tmp_path / "kept", experts, "auto"), work)
    assert kept == with_runtime(config_of(tmp_path / "wide", experts, "float32"), work)[0]
    tuned = kinds(found["tuned"])
    assert {part: tuned[part] for part in ("q_proj", "k_proj", "v_proj", "o_proj", "down_proj", "embed_tokens")} == {
        **{part: {"F32"} for part in ("q_proj", "k_proj", "v_proj")},  # one matrix in the forward pass
        **{part: {"BF16"} for part in ("o_proj", "down_proj", "embed_tokens")},
    }
    assert found["tuned"].units[0].hash == found["base"].units[0].hash
    assert found["tuned"].dtype == "float32"


def test_asked_for_an_adapter_is_rounded_too(tmp_path: Path, folders: dict[str, Path]) -> None:
    adapter = tiny_models.tiny_lora(tmp_path / "lora", folders["llama"])
    config = config_of(tmp_path / "rounded", {"base": folders["llama"], "tuned": adapter}, "auto")
    tuned = f'tuned = "{adapter}"\n'
    text = config.read_text().replace(tuned, "")
    config.write_text(text + f'\n[experts.tuned]\nsource = "{adapter}"\nweights = "bfloat16"\n')

    async def work(runtime: Runtime) -> Manifest:
        await answers(runtime)
        return manifests(runtime)["tuned"]

    manifest = with_runtime(config, work)
    assert manifest.dtype == "bfloat16"
    assert kinds(manifest)["q_proj"] == {"BF16"}


def test_without_numba_matrices_are_widened_at_import(
    tmp_path: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_processor(monkeypatch, has_bfloat16=False, has_compiler=False)

    async def work(runtime: Runtime) -> Manifest:
        await ask(runtime, "llama", PROMPTS[0], 4)
        return manifests(runtime)["llama"]

    manifest = with_runtime(config_of(tmp_path / "plain", {"llama": folders["llama"]}, "auto"), work)
    assert manifest.dtype == "float32"
    assert set().union(*kinds(manifest).values()) == {"F32"}


def test_an_architecture_without_the_fast_path_is_refused_by_name(
    tmp_path: Path, folders: dict[str, Path], gpt2_folder: Path
) -> None:
    config = config_of(tmp_path / "other", {"llama": folders["llama"]}, "auto")
    config.write_text(config.read_text() + f'\n[experts.other]\nsource = "{gpt2_folder}"\nweights = "bfloat16"\n')

    async def work(runtime: Runtime) -> str:
        return str({status.name: status.error for status in runtime.operator.experts()}["other"])

    assert "expert 'other': weights = \"bfloat16\" cannot be used: its architecture runs" in with_runtime(config, work)


def test_a_head_whose_vocabulary_no_tile_divides_is_torchs(tmp_path: Path, folders: dict[str, Path]) -> None:
    async def work(runtime: Runtime) -> Manifest:
        return manifests(runtime)["llama"]

    manifest = with_runtime(config_of(tmp_path / "kept", {"llama": folders["llama"]}, "auto"), work)
    shape = LlamaShape.of(manifest)
    assert shape is not None
    model = CompiledLlama(shape, manifest.config, "bf16")
    assert isinstance(model._math, FloatMath)
    weight, hidden = torch.randn(509, 64).bfloat16(), torch.randn(3, 64)
    found = model._math.matmul(hidden, weight)
    torch.testing.assert_close(found, hidden @ weight.float().t())


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_on_native_bfloat16_auto_rounds_prompts_and_answers_alone_as_in_a_batch(
    tmp_path: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    fake_processor(monkeypatch, has_bfloat16=True)

    async def work(runtime: Runtime) -> set[str]:
        await answers(runtime)
        return {status.backend for status in runtime.operator.experts()}

    config = config_of(tmp_path / "native", folders, "auto", device)
    # a prompt that is cut elsewhere has other last bits in its attention, and rounding makes more of them
    config.write_text(config.read_text().replace("max_step_tokens = 40", "max_step_tokens = 512"))
    assert with_runtime(config, work) == {"llama/cpu-compiled/bf16-native"}
