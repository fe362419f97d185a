"""int8 weights: a quarter of the bytes, exact sums, nobody's result depends on its neighbours."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import torch
from compositions import ask, integrity, with_runtime, write_config
from processors import fake_processor
from transformers import AutoModelForCausalLM

from coe.config.catalog import ExpertSpec
from coe.models.cpu.compiled_llama import CompiledLlama
from coe.models.cpu.row_ops import RowOps
from coe.models.llama.shape import LlamaShape
from coe.models.matmul import Int8, embedded, int8_is_exact
from coe.models.model import Row, Step
from coe.runtime import Runtime
from coe.weights.store.importer import StoredForm, import_expert
from coe.weights.store.quantise import quantise_rows
from coe.weights.store.unit_store import UnitStore
from coe.weights.unit import Manifest

pytestmark = pytest.mark.skipif(not int8_is_exact(), reason="this processor's int8 matmuls overflow")

PROMPTS = ("What is the capital of France?", "one two three four five six seven " * 8, "SELECT name FROM customers")


def manifests(folder: Path, store: UnitStore) -> tuple[Manifest, Manifest]:
    """The same model with float32 and with int8 matrices."""
    spec = ExpertSpec("tiny", str(folder), folder, folder)
    full, int8 = (import_expert(store, spec, StoredForm("float32", form)) for form in ("same", "int8"))
    return full, int8


def write_int8_config(folder: Path, experts: dict[str, Path], more: str = "") -> Path:
    file = write_config(folder, experts, more)
    text = file.read_text()
    for name, source in experts.items():
        text = text.replace(f'{name} = "{source}"\n', "")
    tables = "".join(f'[experts.{name}]\nsource = "{source}"\nweights = "int8"\n' for name, source in experts.items())
    file.write_text(text.replace("[experts]\n", tables))
    return file


def matmul(x: torch.Tensor, weight: Int8) -> torch.Tensor:
    fused = RowOps()
    return fused.matmul(fused.quantised(x), weight)


@pytest.mark.parametrize("num_rows", [1, 2, 5, 40])
def test_matmul_is_the_exact_sum_of_what_was_quantised(num_rows: int) -> None:
    stream = torch.Generator().manual_seed(num_rows)
    x, w = torch.randn(num_rows, 96, generator=stream), torch.randn(3500, 96, generator=stream)  # more than one block
    weight = Int8(*quantise_rows(w))
    step = x.abs().amax(1, keepdim=True) * (1 / 127)
    sums = (x / step).round().double() @ weight.values.double().t()
    torch.testing.assert_close(matmul(x, weight), (sums * weight.scales * step).float(), rtol=1e-6, atol=1e-6)
    alone = torch.cat([matmul(row[None], weight) for row in x])
    assert torch.equal(matmul(x, weight), alone)  # to the last bit


@pytest.mark.parametrize("num_rows", [1, 2, 5])
def test_two_digits_keep_what_one_outlier_hides(num_rows: int) -> None:
    """The MLP's last matmul: one value of 500 makes an int8 step of 4, and everything else would be rounded away."""
    fused, stream = RowOps(), torch.Generator().manual_seed(num_rows)
    x = torch.randn(num_rows, 64, generator=stream)
    first = Int8(*quantise_rows(torch.randn(192, 64, generator=stream)))
    first.scales[96 + 5] = 1.0  # of an up projection: its matmul is the outlier
    w = Int8(*quantise_rows(torch.randn(64, 96, generator=stream)))
    gate, up = fused.matmul(fused.quantised(x), first).chunk(2, dim=-1)
    gated = torch.nn.functional.silu(gate) * up
    expected = gated @ (w.values * w.scales[:, None]).t()
    zeros = torch.zeros(num_rows, 64)
    found = fused.add_two_digits(zeros, fused.quantised_gate(fused.quantised(x), first), w)
    assert 10 * (found - expected).abs().max() < (matmul(gated, w) - expected).abs().max()
    each = [fused.add_two_digits(zeros[:1], fused.quantised_gate(fused.quantised(row[None]), first), w) for row in x]
    assert torch.equal(found, torch.cat(each))


def test_rows_of_zeros_stay_zeros() -> None:
    values, scales = quantise_rows(torch.zeros(3, 8))
    assert torch.equal(matmul(torch.zeros(2, 8), Int8(values, scales)), torch.zeros(2, 3))
    assert torch.equal(embedded(torch.tensor([1]), Int8(values, scales), torch.float32), torch.zeros(1, 8))


def test_units_take_a_quarter_of_float32_and_count_the_same_parameters(tmp_path: Path, llama_folder: Path) -> None:
    store = UnitStore(tmp_path)
    full, int8 = manifests(llama_folder, store)
    assert int8.key != full.key
    assert int8.dtype == "int8"
    assert int8.num_parameters == full.num_parameters
    sizes = [sum(spec.size_bytes for unit in each.units for spec in unit.tensors) for each in (full, int8)]
    assert sizes[1] < 0.31 * sizes[0]  # the scales of 64 columns are a sixteenth of them


def rounded(module: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    digits = 254 if module.in_features == 128 else 1  # the MLP's last matmul gets two
    step = arguments[0].abs().amax(-1, keepdim=True) / 127 / digits
    return ((arguments[0] / step).round() * step, *arguments[1:])


def test_logits_are_those_of_transformers_with_the_same_rounding(tmp_path: Path, llama_folder: Path) -> None:
    """Weights rounded per row and every matmul's input per token, in transformers' own modules."""
    store = UnitStore(tmp_path)
    manifest = manifests(llama_folder, store)[1]
    shape = LlamaShape.of(manifest)
    assert shape is not None
    model = CompiledLlama(shape, manifest.config, "int8")
    flats = [torch.frombuffer(bytearray(store.path(u).read_bytes()), dtype=torch.uint8) for u in manifest.units]
    weights = [model.bind(unit, flat) for unit, flat in zip(manifest.units, flats, strict=True)]
    theirs = AutoModelForCausalLM.from_pretrained(llama_folder, dtype=torch.float32).eval()
    for name, parameter in theirs.named_parameters():
        if parameter.dim() == 2:
            values, scales = quantise_rows(parameter.data)
            assert values.abs().max() == 127, name
            parameter.data = values * scales[:, None]
    for module in theirs.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(rounded)
    ids = torch.randint(3, 500, (24,), generator=torch.Generator().manual_seed(1)).tolist()
    step = Step(model, [Row(tuple(ids), model.new_kv(32))], len(weights))
    step.advance(len(weights), weights.__getitem__)
    with torch.inference_mode():
        expected = theirs(torch.tensor([ids])).logits[0, -1]
    error = (step.logits()[0] - expected).norm() / expected.norm()
    assert error < 0.02, f"relative error {error:.4f}"


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_answers_alone_batched_chunked_and_reloaded_are_the_same(
    tmp_path: Path, llama_folder: Path, qwen2_folder: Path, qwen3_folder: Path, device: str
) -> None:
    experts = {"llama": llama_folder, "qwen2": qwen2_folder, "qwen3": qwen3_folder}
    config = write_int8_config(tmp_path, experts, "max_step_tokens = 24")
    config.write_text(config.read_text().replace('device = "cpu"', f'device = "{device}"'))

    async def work(runtime: Runtime) -> None:
        assert {status.dtype for status in runtime.operator.experts()} == {"int8"}
        pairs = [(name, prompt) for name in experts for prompt in PROMPTS]
        alone = [await ask(runtime, *pair, 24) for pair in pairs]
        for name in experts:
            await runtime.operator.unload(name)
            await integrity(runtime)
        assert await asyncio.gather(*(ask(runtime, *pair, 24) for pair in pairs)) == alone

    with_runtime(config, work)


def test_an_architecture_without_the_fast_path_is_refused_by_name(
    tmp_path: Path, llama_folder: Path, gpt2_folder: Path
) -> None:
    config = write_int8_config(tmp_path, {"general": llama_folder, "other": gpt2_folder})

    async def work(runtime: Runtime) -> str:
        return str({status.name: status.error for status in runtime.operator.experts()}["other"])

    assert "expert 'other': weights = \"int8\" cannot be used: its architecture runs" in with_runtime(config, work)


def test_without_numba_such_an_expert_is_refused_with_the_remedy(
    tmp_path: Path, llama_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_processor(monkeypatch, has_compiler=False)

    async def work(runtime: Runtime) -> str:
        return str({status.name: status.error for status in runtime.operator.experts()}["tiny"])

    config = write_int8_config(tmp_path, {"general": llama_folder, "tiny": llama_folder})
    config.write_text(config.read_text().replace('weights = "int8"', 'weights = "full"', 1))
    assert "it needs numba (pip install 'coe-serve[cpu]')" in with_runtime(config, work)
