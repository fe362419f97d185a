"""Where a batch-1 decode step goes: the memory's ceiling, the matrix multiplications alone, and everything around them.

Drives the model by hand on the calling thread, so that threads, scheduler and text do not blur the picture; what they
add shows as the difference to the engine's own time a token.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from coe.assembly.backends import Backends, choose
from coe.assembly.processor import processor_of
from coe.bench.report import median
from coe.errors import WeightsError
from coe.models.cpu.compiled_llama import CompiledLlama
from coe.models.llama.torch_llama import TorchLlama
from coe.models.model import Row, Step
from coe.weights.memory.allocation import SystemMemory
from coe.weights.store.file_reads import read_into
from coe.weights.store.unit_store import UnitStore
from coe.weights.unit import Manifest, Unit

__all__ = ["HandDriven", "StepProfile", "profile_step", "read_bytes_per_s"]

CONTEXT = 64  # tokens before the profiled ones


@dataclass(frozen=True, slots=True)
class StepProfile:
    """Milliseconds, medians. `matmuls_ms` is the same matmuls on the same weights with nothing around them."""

    step_ms: float
    matmuls_ms: float
    operators: tuple[tuple[str, int, float], ...]  # name, calls a step, own ms a step (profiler's overhead included)

    @property
    def outside_matmuls(self) -> float:
        return max(0.0, 1 - self.matmuls_ms / self.step_ms)


def read_bytes_per_s(size_bytes: int) -> float:
    """How fast memory of the model's own size is read with as many threads as torch has, best of seven."""
    buffer = torch.ones(size_bytes // 4, dtype=torch.int32)
    best = min(_seconds(lambda: buffer.sum(dtype=torch.int32)) for _ in range(7))
    return size_bytes / best


class HandDriven:
    """An imported expert on the calling thread: no cache, no scheduler. Raises WeightsError without the fast path."""

    def __init__(self, store: UnitStore, manifest: Manifest) -> None:
        processor = processor_of("cpu")
        model = Backends(processor).model_for(manifest, choose(manifest.source, manifest, processor))
        if not isinstance(model, CompiledLlama | TorchLlama):
            raise WeightsError(manifest.source, "it runs through transformers' modules, which cannot be taken apart")
        self.model = model
        self.weights = [self.model.bind(unit, _read(store, unit)) for unit in manifest.units]

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
    step_s = median([_seconds(lambda: expert.step(one)) for _ in range(num_steps)])
    with torch.inference_mode():
        matmuls_s = median([_seconds(expert.matmuls) for _ in range(num_steps)])
    return StepProfile(step_s * 1e3, matmuls_s * 1e3, _operators(lambda: expert.step(one), num_steps))


def _read(store: UnitStore, unit: Unit) -> torch.Tensor:
    flat = SystemMemory(unit.size_bytes).bytes
    target: Any = flat.numpy()
    read_into(store.path(unit), memoryview(target), 0)
    return flat


def _operators(work: Callable[[], object], num_steps: int) -> tuple[tuple[str, int, float], ...]:
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(num_steps):
            work()
    rows = sorted(found.key_averages(), key=lambda row: -row.self_cpu_time_total)[:16]
    return tuple((row.key, row.count // num_steps, round(row.self_cpu_time_total / num_steps / 1e3, 3)) for row in rows)


def _seconds(work: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s
