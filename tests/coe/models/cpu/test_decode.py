"""Compiled steps against torch's operators, every row against itself alone, many threads against one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from coe.bench.step_profile import HandDriven
from coe.config.catalog import ExpertSpec
from coe.models.cpu.decode import Block, CompiledLayers, Heads
from coe.models.kv import KvShape, SequenceKv
from coe.models.matmul import Int8
from coe.models.model import Kv, Row
from coe.weights.store.importer import StoredForm, import_expert
from coe.weights.store.quantise import quantise_rows
from coe.weights.store.unit_store import UnitStore

HIDDEN, INNER, DIM, VOCABULARY, LAYERS, EPS = 96, 160, 32, 200, 3, 1e-5
HEADS = (6, 2)
KINDS = ("float32", "bfloat16", "int8")
LENGTHS = (0, 1, 2, 5, 63, 64, 130, 200, 7)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def matrix(kind: str, outputs: int, inputs: int, seed: int) -> torch.Tensor | Int8:
    full = random(outputs, inputs, seed=seed) / inputs**0.5
    return Int8(*quantise_rows(full)) if kind == "int8" else full.to(getattr(torch, kind))


def dense(weight: torch.Tensor | Int8) -> torch.Tensor:
    return weight.values.float() * weight.scales[:, None] if isinstance(weight, Int8) else weight.float()


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Layers:
    """A few layers and a head of one kind, with norms of their heads and a bias."""

    def __init__(self, kind: str) -> None:
        num_heads, num_kv_heads = HEADS
        self.compiled = CompiledLayers(HIDDEN, INNER, Heads(*HEADS, DIM), EPS)
        outputs = (num_heads + 2 * num_kv_heads) * DIM
        sizes = ((outputs, HIDDEN), (HIDDEN, num_heads * DIM), (2 * INNER, HIDDEN), (HIDDEN, INNER))
        self.matrices = [
            tuple(matrix(kind, *size, seed=10 * i + j) for j, size in enumerate(sizes)) for i in range(LAYERS)
        ]
        self.bias = random(outputs, seed=5)
        self.norms = (1 + random(HIDDEN, seed=6) / 10, 1 + random(HIDDEN, seed=7) / 10)
        self.head_norms = (1 + random(DIM, seed=8) / 10, 1 + random(DIM, seed=9) / 10)
        self.lm_head = matrix(kind, VOCABULARY, HIDDEN, seed=4)
        self.turns = True
        self.blocks = [self.block(own) for own in self.matrices]

    def block(self, own: Any) -> Block:
        return self.compiled.layer(own, self.bias, self.norms, self.head_norms)

    def step(
        self, hidden: torch.Tensor, kvs: list[SequenceKv], most: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Hidden after all layers, and logits."""
        hidden, (cos, sin) = hidden.clone(), table(len(kvs))
        step = self.compiled.begin([kv.place(most) for kv in kvs], LAYERS, cos, sin)
        for index, block in enumerate(self.blocks):
            self.compiled.run(step, block, hidden, index, rotates=self.turns and index != 1)
        head = self.compiled.head(self.lm_head, self.norms[0])
        assert head is not None
        return hidden, self.compiled.logits(step, head, hidden)

    def expected(
        self, hidden: torch.Tensor, kvs: list[SequenceKv], most: int | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        (num_heads, num_kv_heads), (cos, sin) = HEADS, table(len(kvs))
        for index, own in enumerate(self.matrices):
            qkv, out, gate_up, down = map(dense, own)
            normed = F.rms_norm(hidden, (HIDDEN,), self.norms[0], EPS)
            heads = F.linear(normed, qkv, self.bias).view(len(kvs), -1, DIM)
            q, k, v = heads.split((num_heads, num_kv_heads, num_kv_heads), dim=1)
            q, k = (F.rms_norm(x, (DIM,), norm, EPS) for x, norm in zip((q, k), self.head_norms, strict=True))
            if index != 1:
                q, k = (x * cos + torch.cat((-x[..., DIM // 2 :], x[..., : DIM // 2]), -1) * sin for x in (q, k))
            mixed = []
            for row, kv in enumerate(kvs):
                window = kv.window(1, most)
                keys, values = window.put(index, k[row][:, None], v[row][:, None])
                keys, values = (each.repeat_interleave(num_heads // num_kv_heads, 0) for each in (keys, values))
                mixed.append(F.scaled_dot_product_attention(q[row][:, None], keys, values).reshape(1, -1))
            hidden = hidden + F.linear(torch.cat(mixed), out)
            gate, up = F.linear(F.rms_norm(hidden, (HIDDEN,), self.norms[1], EPS), gate_up).chunk(2, -1)
            hidden = hidden + F.linear(F.silu(gate) * up, down)
        return hidden, F.linear(F.rms_norm(hidden, (HIDDEN,), self.norms[0], EPS), dense(self.lm_head))


def table(num_rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    angles = torch.outer(torch.arange(float(num_rows)), 1 / 100 ** (torch.arange(DIM // 2) / (DIM // 2))).repeat(1, 2)
    return angles.cos()[:, None], angles.sin()[:, None]


def kvs_of(lengths: tuple[int, ...]) -> list[SequenceKv]:
    """Sequences with so many tokens each, whose content depends on nothing but the length."""
    shape = KvShape(LAYERS, HEADS[1], DIM, torch.float32, torch.device("cpu"))
    kvs = []
    for length in lengths:
        kv = SequenceKv(shape, length + 1)
        window = kv.window(length + 1)
        for layer in range(LAYERS):
            window.new_keys[layer].copy_(random(HEADS[1], length + 1, DIM, seed=1000 + 10 * length + layer))
            window.new_values[layer].copy_(random(HEADS[1], length + 1, DIM, seed=9000 + 10 * length + layer))
        kv.length = length
        kvs.append(kv)
    return kvs


@pytest.mark.parametrize("most", [None, 50])
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_is_torchs_for_sequences_of_all_lengths(kind: str, most: int | None) -> None:
    layers, hidden = Layers(kind), random(len(LENGTHS), HIDDEN, seed=3)
    mine, theirs = kvs_of(LENGTHS), kvs_of(LENGTHS)
    found, expected = layers.step(hidden, mine, most), layers.expected(hidden, theirs, most)
    close = {"atol": 0.15, "rtol": 0.0} if kind == "int8" else {"atol": 2e-5, "rtol": 1e-5}  # int8: rounded activations
    for left, right in zip(found, expected, strict=True):
        torch.testing.assert_close(left, right, **close)
    for left_kv, right_kv in zip(mine, theirs, strict=True):
        left_new, right_new = left_kv.window(1), right_kv.window(1)
        for layer in range(LAYERS):
            torch.testing.assert_close(left_new.new_keys[layer], right_new.new_keys[layer], **close)
            torch.testing.assert_close(left_new.new_values[layer], right_new.new_values[layer], **close)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_the_same_bit_by_bit_whoever_is_beside_it_and_however_many_threads_share(kind: str) -> None:
    layers, hidden = Layers(kind), random(len(LENGTHS), HIDDEN, seed=3)
    layers.turns = False  # `table` turns a row by its number
    alone = [layers.step(hidden[row : row + 1], kvs_of((length,))) for row, length in enumerate(LENGTHS)]
    for count in (1, 2, 5):
        for size in (1, 2, 3, 7, 9):
            with threads(count):
                found = layers.step(hidden[:size], kvs_of(LENGTHS[:size]))
            for part in (0, 1):
                assert torch.equal(found[part], torch.cat([each[part] for each in alone[:size]]))


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
@pytest.mark.parametrize("num_rows", [1, 2, 3, 8, 21, 64])
def test_a_matmul_is_torchs_and_each_row_its_own(kind: str, num_rows: int) -> None:
    layers, x, weight = Layers(kind), random(num_rows, HIDDEN, seed=1), matrix(kind, VOCABULARY, HIDDEN, seed=2)
    assert isinstance(weight, torch.Tensor)
    bias = random(VOCABULARY, seed=3)
    found = layers.compiled.matmul(x, weight, bias)
    torch.testing.assert_close(found, F.linear(x, weight.float(), bias), atol=2e-5, rtol=1e-5)
    assert torch.equal(found, torch.cat([layers.compiled.matmul(row[None], weight, bias) for row in x]))
    torch.testing.assert_close(
        layers.compiled.matmul(x.t().contiguous().t(), weight, None), found - bias, atol=1e-5, rtol=1e-5
    )


def test_steps_of_two_models_at_once_do_not_disturb_each_other() -> None:
    """The helpers are the process's: who finds them taken works alone."""
    layers = [Layers(kind) for kind in ("float32", "bfloat16")]
    hidden = random(4, HIDDEN, seed=3)
    expected = [each.step(hidden, kvs_of(LENGTHS[:4])) for each in layers]
    wrong: list[int] = []

    def work(which: int) -> None:
        for _ in range(30):
            found = layers[which].step(hidden, kvs_of(LENGTHS[:4]))
            if not all(torch.equal(a, b) for a, b in zip(found, expected[which], strict=True)):
                wrong.append(which)

    workers = [threading.Thread(target=work, args=(which,)) for which in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


def test_sizes_that_no_register_divides_are_left_to_torch() -> None:
    assert CompiledLayers.fits(DIM, (HIDDEN, HIDDEN, INNER))
    assert not CompiledLayers.fits(DIM, (HIDDEN, HIDDEN, INNER + 1))
    assert not CompiledLayers.fits(DIM + 1, (HIDDEN, HIDDEN, INNER))
    assert Layers("float32").compiled.head(random(VOCABULARY + 3, HIDDEN), random(HIDDEN)) is None


@pytest.mark.parametrize("form", ["same", "bfloat16", "int8"])
def test_a_decoding_token_has_the_same_bits_beside_a_prompt(tmp_path: Path, llama_folder: Path, form: str) -> None:
    """In int8 one bit more or less can be another word."""
    store = UnitStore(tmp_path)
    spec = ExpertSpec("tiny", str(llama_folder), llama_folder, llama_folder)
    expert = HandDriven(store, import_expert(store, spec, StoredForm("float32", form)))  # type: ignore[arg-type]

    def after(prompt: tuple[int, ...]) -> torch.Tensor:
        """Logits of two decoding rows, with a prompt beside them or without."""
        kvs: list[Kv] = []
        for row, length in enumerate((5, 40)):
            kvs.append(expert.model.new_kv(64))
            expert.step(Row(tuple(range(10 + row, 10 + row + length)), kvs[-1]))
        rows = [Row((7,), kvs[0]), *([Row(prompt, expert.model.new_kv(64))] if prompt else []), Row((9,), kvs[1])]
        return expert.rows(rows)[[0, -1]]

    assert torch.equal(after(()), after(tuple(range(100, 130))))
