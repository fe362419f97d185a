"""Where a batch-1 decode step goes: the memory's ceiling, the matrix products alone, and everything around them.

Drives the model by hand on the calling thread, so that threads, scheduler and text do not blur the picture; what they
add shows as the difference to the engine's own time a token.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from coe.bench.report import median
from coe.engine.llama import LlamaModel, LlamaShape
from coe.engine.step import Row, Step
from coe.weights.store import UnitStore
from coe.weights.transfer import read_into
from coe.weights.unit import Manifest

__all__ = ["StepProfile", "profile_step", "read_bytes_per_s"]

CONTEXT = 64  # tokens before the profiled ones


@dataclass(frozen=True, slots=True)
class StepProfile:
    """Milliseconds, medians. `products_ms` is the same products on the same weights with nothing around them."""

    step_ms: float
    products_ms: float
    operators: tuple[tuple[str, int, float], ...]  # name, calls a step, own ms a step (profiler's overhead included)

    @property
    def outside_products(self) -> float:
        return max(0.0, 1 - self.products_ms / self.step_ms)


def read_bytes_per_s(size_bytes: int) -> float:
    """How fast memory of the model's own size is read with as many threads as torch has, best of seven."""
    buffer = torch.ones(size_bytes // 4, dtype=torch.int32)
    best = min(_seconds(lambda: buffer.sum(dtype=torch.int32)) for _ in range(7))
    return size_bytes / best


def profile_step(store: UnitStore, manifest: Manifest, num_steps: int) -> StepProfile | None:
    """None for an expert without the fast path."""
    shape = LlamaShape.of(manifest)
    if shape is None:
        return None
    model = LlamaModel(shape, manifest.config, torch.device("cpu"))
    weights = [model.bind(unit, _read(store, unit)) for unit in manifest.units]
    kv = model.new_kv(CONTEXT + 3 * num_steps + 4)
    _step(model, weights, Row(tuple(range(100, 100 + CONTEXT)), kv))
    one = Row((100,), kv)
    _step(model, weights, one)
    with torch.inference_mode():
        step_s = median([_seconds(lambda: _step(model, weights, one)) for _ in range(num_steps)])
        products_s = median([_seconds(lambda: model.products(weights)) for _ in range(num_steps)])
    return StepProfile(step_s * 1e3, products_s * 1e3, _operators(lambda: _step(model, weights, one), num_steps))


def _step(model: LlamaModel, weights: list[Any], row: Row) -> int:
    step = Step(model, [row], len(weights))
    step.advance(len(weights), weights.__getitem__)
    return int(step.logits().argmax())


def _read(store: UnitStore, unit: Any) -> torch.Tensor:
    flat = torch.empty(unit.size_bytes + 4096, dtype=torch.uint8)
    flat = flat[-flat.data_ptr() % 4096 :][: unit.size_bytes]
    read_into(store.path(unit), memoryview(flat.numpy()), 0)  # type: ignore[arg-type]
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
