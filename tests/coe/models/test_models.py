"""Both forward passes against transformers' own: every shape, in chunks, in ragged batches, paused between units."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from transformers import AutoModelForCausalLM

from coe.assembly.backends import Backends, choose
from coe.assembly.processor import processor_of
from coe.config.catalog import ExpertSpec
from coe.config.schema import Dtype
from coe.models.model import Kv, Model, Row, Step
from coe.models.transformers import TransformersModel
from coe.weights.store.importer import StoredForm, import_expert
from coe.weights.store.unit_store import UnitStore

CPU = torch.device("cpu")
LLAMA3 = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}

# name -> (model type, config, whether the fast path covers it)
SHAPES: dict[str, tuple[str, dict[str, Any], bool]] = {
    "llama": ("llama", {"head_dim": 16}, True),
    "untied": ("llama", {"tied": False}, True),
    "wide heads": ("llama", {"head_dim": 32}, True),
    "one key head each": ("llama", {"num_key_value_heads": 4}, True),
    "linear rope": ("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}}, True),
    "llama3 rope": (
        "llama",
        {"rope_parameters": {**LLAMA3, "original_max_position_embeddings": 64}},
        True,
    ),
    "yarn rope": (
        "llama",
        {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}},
        True,
    ),
    "qwen2": ("qwen2", {}, True),
    "qwen3": ("qwen3", {"head_dim": 16}, True),
    "mistral": ("mistral", {"sliding_window": None}, True),
    "dynamic rope": ("llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, False),
    "llama with biases": ("llama", {"attention_bias": True}, False),
    "llama with mlp biases": ("llama", {"mlp_bias": True}, False),
    "qwen3 with biases": ("qwen3", {"attention_bias": True, "head_dim": 16}, False),
    "gelu": ("llama", {"hidden_act": "gelu"}, False),
    "sliding window": ("mistral", {"sliding_window": 8}, True),
    "smollm3": ("smollm3", {"num_layers": 5, "pad_token_id": 0}, True),
    "smollm3 by list": ("smollm3", {"no_rope_layers": [0, 1, 1], "pad_token_id": 0}, True),
    "window in some layers": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
        False,
    ),
    "gpt2": ("gpt2", {}, False),
    "phi3": ("phi3", {"pad_token_id": 0}, False),
    "gemma2": ("gemma2", {"head_dim": 16, "sliding_window": 8}, False),
    "olmo2": ("olmo2", {}, False),
    "gpt_neox": ("gpt_neox", {}, False),
}


class Bench:
    """One imported expert, its model here and in transformers."""

    def __init__(self, folder: Path, store: UnitStore, dtype: Dtype = "float32") -> None:
        self.manifest = import_expert(store, ExpertSpec("tiny", str(folder), folder, folder), StoredForm(dtype))
        processor = processor_of("cpu")
        self.model: Model = Backends(processor).model_for(self.manifest, choose("tiny", self.manifest, processor))
        self.is_fast = not isinstance(self.model, TransformersModel)
        flats = [
            torch.frombuffer(bytearray(store.path(unit).read_bytes()), dtype=torch.uint8)
            for unit in self.manifest.units
        ]
        self.weights = [self.model.bind(unit, flat) for unit, flat in zip(self.manifest.units, flats, strict=True)]
        self.theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def step(self, rows: Sequence[Row], pause_at: int | None = None) -> torch.Tensor:
        step = Step(self.model, rows, len(self.manifest.units))
        if pause_at is not None:
            step.advance(pause_at, self.weights.__getitem__)
            assert not step.is_done
        step.advance(len(self.manifest.units), self.weights.__getitem__)
        return step.logits()

    def logits(self, ids: Sequence[int]) -> torch.Tensor:
        """What transformers says after the last id, computed at once without a cache."""
        with torch.inference_mode():
            found: torch.Tensor = self.theirs(torch.tensor([list(ids)]), use_cache=False).logits[0, -1]
        return found

    def check(self, kvs: Sequence[Kv], chunks: Sequence[Sequence[int]], past: list[list[int]], **step: int) -> None:
        rows = [Row(tuple(chunk), kv) for chunk, kv in zip(chunks, kvs, strict=True)]
        ours = self.step(rows, **step)
        for ids, chunk, kv, row in zip(past, chunks, kvs, ours, strict=True):
            ids.extend(chunk)
            assert kv.length == len(ids)
            torch.testing.assert_close(row, self.logits(ids), rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def benches() -> dict[str, Bench]:
    return {}


@pytest.fixture(params=SHAPES)
def bench(request: pytest.FixtureRequest, benches: dict[str, Bench], tmp_path_factory: pytest.TempPathFactory) -> Bench:
    name: str = request.param
    if name not in benches:
        kind, config, _ = SHAPES[name]
        folder = tiny_models.tiny_model(kind, tmp_path_factory.mktemp("shapes") / "model", 11, **config)
        benches[name] = Bench(folder, UnitStore(folder.parent / "store"))
        assert benches[name].is_fast == SHAPES[name][2], name
    return benches[name]


def ids(seed: int, count: int) -> list[int]:
    return torch.randint(3, 500, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def test_logits_are_transformers_own_in_chunks_ragged_batches_and_paused_steps(bench: Bench) -> None:
    kvs = [bench.model.new_kv(64) for _ in range(3)]
    past: list[list[int]] = [[], [], []]
    bench.check(kvs, [ids(0, 12), ids(1, 1), ids(2, 5)], past)
    bench.check(kvs[:2], [ids(3, 9), ids(4, 7)], past[:2], pause_at=2)
    for turn in range(4):
        bench.check(kvs, [ids(5 + turn, 1), ids(9 + turn, 1), ids(13 + turn, 1)], past, pause_at=turn)
    bench.check(kvs, [ids(20, 3), ids(21, 1), ids(22, 11)], past)


def test_model_keeps_no_weights_after_a_step(bench: Bench) -> None:
    """transformers' modules pointed at the last expert's bytes, which kept them in memory after their eviction."""
    bench.step([Row(tuple(ids(0, 3)), bench.model.new_kv(8))])
    mine = {tensor.untyped_storage().data_ptr() for unit in bench.weights for tensor in _tensors(unit)}
    held = _held_tensors(bench.model)
    assert mine
    assert not mine & {tensor.untyped_storage().data_ptr() for tensor in held if not tensor.is_meta}


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "mistral"])
def test_bfloat16_strays_no_further_than_transformers_own(kind: str, tmp_path: Path) -> None:
    """Both against float32 arithmetic on the same rounded weights; relative error of a chunk's last logits."""
    folder = tiny_models.tiny_model(kind, tmp_path / "model", 3, dtype="bfloat16", **SHAPES[kind][1])
    bench = Bench(folder, UnitStore(tmp_path / "store"), "bfloat16")
    assert bench.is_fast
    rounded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    errors: dict[str, list[float]] = {"ours": [], "theirs": []}
    for seed in range(8):
        chunk = ids(seed, 24)
        exact = bench.logits(chunk)
        with torch.inference_mode():
            theirs = rounded(torch.tensor([chunk]), use_cache=False).logits[0, -1].float()
        ours = bench.step([Row(tuple(chunk), bench.model.new_kv(24))])[0]
        for name, found in (("ours", ours), ("theirs", theirs)):
            errors[name].append(float((found - exact).norm() / exact.norm()))
    mean = {name: sum(each) / len(each) for name, each in errors.items()}
    assert 0 < mean["ours"] < max(0.01, 1.5 * mean["theirs"]), mean


def _tensors(weights: Any) -> list[torch.Tensor]:
    values = weights.values() if isinstance(weights, dict) else weights
    return [value for value in values if isinstance(value, torch.Tensor)]


def _held_tensors(model: Any) -> list[torch.Tensor]:
    skeleton = getattr(model, "_skeleton", None)
    own = [value for value in vars(model).values() if isinstance(value, torch.Tensor)]
    return own + ([] if skeleton is None else [*skeleton.module.parameters(), *skeleton.module.buffers()])


def test_kv_bytes_are_what_the_fast_path_allocates(llama_folder: Path, tmp_path: Path) -> None:
    bench = Bench(llama_folder, UnitStore(tmp_path / "store"))
    kv: Any = bench.model.new_kv(70)
    assert bench.model.kv_bytes(70) == kv._keys.nbytes + kv._values.nbytes
    assert json.loads((llama_folder / "config.json").read_text())["num_hidden_layers"] == kv._keys.shape[0]


@pytest.mark.parametrize("options", [{}, {"tied": False}], ids=["tied", "untied"])
@pytest.mark.parametrize("pause_at", range(1, 5))
def test_units_may_move_wherever_a_step_pauses(tmp_path: Path, pause_at: int, options: dict[str, Any]) -> None:
    """What a step was bound to before the pause is overwritten; tied embeddings computed with those bytes once."""
    folder = tiny_models.tiny_llama(tmp_path / "model", **options)
    bench = Bench(folder, UnitStore(tmp_path / "store"))
    ids = (5, 6, 7, 8)
    expected = bench.step([Row(ids, bench.model.new_kv(8))])
    units = bench.manifest.units
    stored = [bytearray(UnitStore(tmp_path / "store").path(unit).read_bytes()) for unit in units]
    before, after = (
        [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in stored] for _ in ("before", "after")
    )
    step = Step(bench.model, [Row(ids, bench.model.new_kv(8))], len(units))
    step.advance(pause_at, lambda index: bench.model.bind(units[index], before[index]))
    for flat in before:
        flat.fill_(0x7F)
    step.advance(len(units), lambda index: bench.model.bind(units[index], after[index]))
    assert torch.equal(step.logits(), expected)
