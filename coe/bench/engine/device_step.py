"""A decode step on a GPU taken apart: how fast the device reads, a captured step alone, and the kernels of one.

Drives the model by hand on the calling thread; what engine, text and scheduler add shows as the difference to the
engine's own time a token. Runs on a CPU too, where nothing is captured and only the arithmetic is worth a look.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from coe.bench.harness import Operator, median_seconds, operators, seconds
from coe.bench.step_profile import read_unit
from coe.errors import WeightsError
from coe.models.cuda.cuda_llama import CudaLlama
from coe.models.cuda.graphs import DecodeGraphs, Recorder
from coe.models.cuda.paged_kv import KvPages, PagedStore, page_bytes_of
from coe.models.cuda.static_step import Bucket, fill, num_blocks
from coe.models.kv import KV_BLOCK_TOKENS
from coe.models.llama.model import kv_shape_of
from coe.models.llama.shape import LlamaShape
from coe.models.model import Row, Step
from coe.weights.store.unit_store import UnitStore
from coe.weights.unit import Manifest

__all__ = ["DeviceProfile", "bytes_per_token", "device_read_bytes_per_s", "profile_device_steps"]

LEAST_BYTES = 1 << 30  # many times what a GPU's caches hold
GRAPH_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """Milliseconds at batch 1, medians: a captured step, an eager one, and the captured one's kernels.

    `context`: tokens before the profiled ones.
    """

    backend: str
    context: int
    captured_ms: float
    eager_ms: float
    kernels: tuple[Operator, ...]


def bytes_per_token(manifest: Manifest) -> int:
    """Weights that a decode step reads at batch 1: of an embedding that is not the head too, only a row."""
    size_bytes = manifest.size_bytes
    return size_bytes if manifest.tied else size_bytes - manifest.units[0].size_bytes


def device_read_bytes_per_s(size_bytes: int, device: torch.device, least_bytes: int = LEAST_BYTES) -> float:
    """The best of summing memory up and of copying it (bytes read and written), best of seven each."""
    buffer = torch.ones(max(size_bytes, least_bytes) // 4, dtype=torch.float32, device=device)
    half = len(buffer) // 2
    summed = min(seconds(lambda: buffer.sum(), device) for _ in range(7))
    copied = min(seconds(lambda: buffer[:half].copy_(buffer[half : 2 * half]), device) for _ in range(7))
    return max(4 * len(buffer) / summed, 2 * 4 * half / copied)


def profile_device_steps(
    store: UnitStore,
    manifest: Manifest,
    device: torch.device,
    recorder: Recorder,
    contexts: Sequence[int],
    num_steps: int,
) -> list[DeviceProfile]:
    """One profile per context; raises WeightsError where the expert has no fast path."""
    expert = _Driven(store, manifest, device, recorder, max(contexts) + 3 * num_steps + 8)
    profiles = [_profile(expert, context, num_steps, device) for context in contexts]
    expert.close()
    return profiles


def _profile(expert: _Driven, context: int, num_steps: int, device: torch.device) -> DeviceProfile:
    expert.prefill(context)
    eager_ms = median_seconds(expert.eager, num_steps, device) * 1e3
    expert.captured()  # captures
    captured_ms = median_seconds(expert.captured, num_steps, device) * 1e3
    launch = expert.static_step()
    launch()
    kernels = operators(launch, num_steps, device)
    return DeviceProfile(expert.model.backend, context, round(captured_ms, 4), round(eager_ms, 4), kernels)


class _Driven:
    """An expert's weights on the device and one sequence; every call is a step of batch 1."""

    def __init__(
        self, store: UnitStore, manifest: Manifest, device: torch.device, recorder: Recorder, num_tokens: int
    ) -> None:
        shape = LlamaShape.of(manifest)
        if shape is None:
            raise WeightsError(manifest.source, "it runs through transformers' modules, which cannot be taken apart")
        self._kv = _pages(shape, device, num_tokens)
        self._graphs = DecodeGraphs(GRAPH_BYTES, recorder, worth_steps=1)
        self.model = CudaLlama(shape, manifest.config, device, self._kv, self._graphs)
        self.weights = [self.model.bind(unit, read_unit(store, unit).to(device)) for unit in manifest.units]
        self._row: Row | None = None

    def prefill(self, context: int) -> None:
        """Begin anew, with so many tokens."""
        self._row = None  # the sequence before this one gives its pages back
        sequence = self._kv.new(0)
        self._step(Row(tuple(100 + at % 100 for at in range(context)), sequence))
        self._row = Row((100,), sequence)

    def eager(self) -> None:
        self._step(self._one)

    def captured(self) -> None:
        if self._graphs.run(self.model.static_step, self.weights, [self._one]) is None:
            raise WeightsError("the expert", f"its step could not be captured within {GRAPH_BYTES:,} bytes")

    def static_step(self) -> Callable[[], None]:
        """The work that is captured, to be launched one kernel after the other."""
        step, window = self.model.static_step, self.model.shape.window
        bucket = Bucket.of(1, num_blocks(self._one, window))
        assert bucket is not None
        inputs = torch.tensor(fill(bucket, [self._one], window), device=self.model.device)
        workspace = torch.zeros(step.workspace_bytes(bucket), dtype=torch.uint8, device=self.model.device)

        def work() -> None:
            with torch.inference_mode():
                step.run(self.weights, inputs, workspace)

        return work

    @property
    def _one(self) -> Row:
        assert self._row is not None
        return self._row

    def _step(self, row: Row) -> None:
        step = Step(self.model, [row], len(self.weights))
        step.advance(len(self.weights), self.weights.__getitem__)
        step.logits()

    def close(self) -> None:
        self._graphs.close()


def _pages(shape: LlamaShape, device: torch.device, num_tokens: int) -> PagedStore:
    kv_shape = kv_shape_of(shape, device)
    page_bytes = page_bytes_of([kv_shape])
    assert page_bytes is not None  # one shape always has a page
    num_pages = num_tokens // KV_BLOCK_TOKENS + 3
    return PagedStore(KvPages(num_pages * page_bytes, page_bytes, device), kv_shape)
