"""The arithmetic of prompts on a CPU: in float32, and in bfloat16 where the processor is fast at that."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_models
import torch
from transformers import AutoModelForCausalLM

from coe.config.catalog import ExpertSpec
from coe.models.cpu.compiled_llama import CompiledLlama
from coe.models.llama.shape import LlamaShape
from coe.models.model import Kv, Row, Step
from coe.weights.store.importer import StoredForm, import_expert
from coe.weights.store.unit_store import UnitStore


class Compiled:
    """An expert with bfloat16 matrices in the compiled backend."""

    def __init__(self, folder: Path, *, rounds_prompts: bool) -> None:
        store = UnitStore(folder.parent / "store")
        spec = ExpertSpec("tiny", str(folder), folder, folder)
        manifest = import_expert(store, spec, StoredForm("float32", "bfloat16"))
        shape = LlamaShape.of(manifest)
        assert shape is not None
        self.model = CompiledLlama(shape, manifest.config, "bf16", rounds_prompts=rounds_prompts)
        flats = [torch.frombuffer(bytearray(store.path(u).read_bytes()), dtype=torch.uint8) for u in manifest.units]
        self.weights = [self.model.bind(unit, flat) for unit, flat in zip(manifest.units, flats, strict=True)]

    def logits(self, *rows: Row) -> torch.Tensor:
        step = Step(self.model, rows, len(self.weights))
        step.advance(len(self.weights), self.weights.__getitem__)
        return step.logits()

    def prompt(self, ids: tuple[int, ...]) -> torch.Tensor:
        return self.logits(Row(ids, self.model.new_kv(len(ids) + 8)))[0]


def ids(seed: int, count: int) -> tuple[int, ...]:
    return tuple(torch.randint(3, 500, (count,), generator=torch.Generator().manual_seed(seed)).tolist())


def error(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found - exact).norm() / exact.norm())


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_rounded_prompts_stray_no_further_than_transformers_bfloat16(tmp_path: Path, kind: str) -> None:
    """Both against float32 arithmetic on the same weights; mean relative error of the last logits."""
    folder = tiny_models.tiny_model(kind, tmp_path / "model", 3, dtype="bfloat16", head_dim=16)
    ours, exact = Compiled(folder, rounds_prompts=True), Compiled(folder, rounds_prompts=False)
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    errors: dict[str, float] = {"ours": 0.0, "theirs": 0.0}
    for seed in range(8):
        prompt = ids(seed, 24)
        right = exact.prompt(prompt)
        with torch.inference_mode():
            errors["theirs"] += error(theirs(torch.tensor([prompt]), use_cache=False).logits[0, -1].float(), right)
        errors["ours"] += error(ours.prompt(prompt), right)
    assert 0 < errors["ours"] <= errors["theirs"], errors


def test_decoding_is_not_rounded_whatever_prompts_are(tmp_path: Path) -> None:
    """The same keys and values, then the same bits."""
    folder = tiny_models.tiny_llama(tmp_path / "model", dtype="bfloat16")
    rounded, exact = Compiled(folder, rounds_prompts=True), Compiled(folder, rounds_prompts=False)
    kv: Kv = exact.model.new_kv(64)
    exact.logits(Row(ids(0, 24), kv))
    copies = [exact.model.copy_kv(kv, 24, 64) for _ in range(3)]
    alone = exact.logits(Row((7,), copies[0]))
    assert torch.equal(rounded.logits(Row((7,), copies[1])), alone)
    beside = rounded.logits(Row(ids(1, 9), rounded.model.new_kv(16)), Row((7,), copies[2]))
    assert torch.equal(beside[1:], alone)


def test_logits_of_a_mixed_step_come_in_the_order_of_its_rows(tmp_path: Path) -> None:
    folder = tiny_models.tiny_llama(tmp_path / "model")
    expert = Compiled(folder, rounds_prompts=False)
    kvs = [expert.model.new_kv(64) for _ in range(2)]
    for seed, kv in enumerate(kvs):
        expert.logits(Row(ids(seed, 12), kv))
    copies = [expert.model.copy_kv(kv, 12, 64) for kv in kvs]
    first, last = (expert.logits(Row((token,), kv)) for token, kv in zip((5, 9), kvs, strict=True))
    chunk, scored = ids(3, 10), ids(4, 6)
    together = expert.logits(
        Row(chunk, expert.model.new_kv(16), num_logits=0),
        Row((5,), copies[0]),
        Row(scored, expert.model.new_kv(16), num_logits=3),
        Row((9,), copies[1]),
    )
    apart = expert.logits(Row(scored, expert.model.new_kv(16), num_logits=3))
    torch.testing.assert_close(together, torch.cat((first, apart, last)), rtol=1e-5, atol=1e-5)
