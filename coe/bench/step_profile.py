"""Where a batch-1 decode step goes: the memory's ceiling, the matrix multiplications alone, and everything around them.

Drives the model by hand on the calling thread, so that threads, scheduler and text do not blur the picture; what they
add shows as the difference to the engine's own time a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from coe.assembly.backends import Backends, choose
from coe.assembly.processor import processor_of
from coe.bench.harness import Operator, median_seconds, operators, seconds
from coe.errors import WeightsError
from coe.models.cpu.compiled_llama import CompiledLlama
from coe.models.llama.torch_llama import TorchLlama
from coe.models.model import Row, Step
from coe.weights.memory.allocation import SystemMemory
from coe.weights.store.file_reads import read_into
from coe.weights.store.unit_store import UnitStore
from coe.weights.unit import Manifest, Unit

__all__ = ["HandDriven", "StepProfile", "profile_step", "read_bytes_per_s", "read_unit"]

CONTEXT = 64  # tokens before the profiled ones


@dataclass(frozen=True, slots=True)
class StepProfile:
    """Milliseconds, medians. `matmuls_ms` is the same matmuls on the same weights with nothing around them."""

    backend: str
    step_ms: float
    matmuls_ms: float
    operators: tuple[Operator, ...]

    @property
    def outside_matmuls(self) -> float:
        return max(0.0, 1 - self.matmuls_ms / self.step_ms)


def read_bytes_per_s(size_bytes: int) -> float:
    """How fast memory of the model's own size is read with as many threads as torch has, best of seven."""
    buffer = torch.ones(size_bytes // 4, dtype=torch.int32)
    best = min(seconds(lambda: buffer.sum(dtype=torch.int32)) for _ in range(7))
    return size_bytes / best


class HandDriven:
    """An imported expert on the calling thread: no cache, no scheduler. Raises WeightsError without the fast path."""

    def __init__(self, store: UnitStore, manifest: Manifest) -> None:
        processor = processor_of("cpu")
        model = Backends(processor).model_for(manifest, choose(manifest.source, manifest, processor))
        if not isinstance(model, CompiledLlama | TorchLlama):
            raise WeightsError(manifest.source, "it runs through transformers' modules, which cannot be taken apart")
        self.model = model
        self.weights = [self.model.bind(unit, read_unit(store, unit)) for unit in manifest.units]

    def step(self, row: Row) -> int:
        """One pass; the greedy next token."""
        return int(self.rows([row])[0].argmax())

    def logits(self, token_ids: Sequence[int]) -> torch.Tensor:
        """Float32 logits after every token of one text, (tokens, vocab)."""
        kv = self.model.new_kv(len(token_ids))
        return self.rows([Row(tuple(token_ids), kv, num_logits=len(token_ids))])

    def matmuls(self) -> None:
        self.model.matmuls(self.weights)

    @torch.inference_mode()
    def rows(self, rows: Sequence[Row]) -> torch.Tensor:
        """One pass; float32 logits, row after row."""
        step = Step(self.model, rows, len(self.weights))
        step.advance(len(self.weights), self.weights.__getitem__)
        return step.logits()


def profile_step(expert: HandDriven, num_steps: int) -> StepProfile:
    """Medians over `num_steps` steps."""
    kv = expert.model.new_kv(CONTEXT + 3 * num_steps + 4)
    expert.step(Row(tuple(range(100, 100 + CONTEXT)), kv))
    one = Row((100,), kv)
    expert.step(one)
    step_s = median_seconds(lambda: expert.step(one), num_steps)
    with torch.inference_mode():
        matmuls_s = median_seconds(expert.matmuls, num_steps)
    spent = operators(lambda: expert.step(one), num_steps)
    return StepProfile(expert.model.backend, step_s * 1e3, matmuls_s * 1e3, spent)


def read_unit(store: UnitStore, unit: Unit) -> torch.Tensor:
    """Return a unit's bytes in memory of their own."""
    flat = SystemMemory(unit.size_bytes).bytes
    target: Any = flat.numpy()
    read_into(store.path(unit), memoryview(target), 0)
    return flat
