"""Tiny experts on a device with their KV in pages, stepped eagerly, statically or captured, without an engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tiny_models
import torch

from coe.config.catalog import ExpertSpec
from coe.config.schema import Dtype
from coe.models.cuda.cuda_llama import CudaLlama
from coe.models.cuda.graphs import Recording
from coe.models.cuda.paged_kv import KvPages, PagedStore, page_bytes_of
from coe.models.llama.model import LlamaModel, kv_shape_of
from coe.models.llama.shape import LlamaShape
from coe.models.llama.torch_llama import TorchLlama
from coe.models.model import Kv, Row, Step
from coe.weights.store.importer import StoredForm, import_expert
from coe.weights.store.unit_store import UnitStore

# name -> (model type, config)
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"head_dim": 16}),
    "untied": ("llama", {"tied": False, "head_dim": 16}),
    "one key head each": ("llama", {"num_key_value_heads": 4, "head_dim": 16}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {"head_dim": 16}),
    "mistral": ("mistral", {"sliding_window": None, "head_dim": 16}),
    "window of 8": ("mistral", {"sliding_window": 8, "head_dim": 16}),
    "window of 100": ("mistral", {"sliding_window": 100, "head_dim": 16}),
    "smollm3": ("smollm3", {"num_layers": 5, "pad_token_id": 0}),
}
LENGTHS = (5, 63, 64, 1, 130, 65, 127, 20)  # around the edges of blocks
NUM_PAGES = 64


class Tiny:
    """An imported expert on a device; `model` keeps its KV in pages."""

    def __init__(
        self,
        shape: str,
        folder: Path,
        device: torch.device,
        *,
        seed: int = 11,
        dtype: Dtype = "float32",
        stored: Dtype = "float32",
    ) -> None:
        kind, config = SHAPES[shape]
        source = tiny_models.tiny_model(kind, folder / f"model-{seed}", seed, dtype=stored, **config)
        store = UnitStore(folder / "store")
        self.manifest = import_expert(store, ExpertSpec("tiny", str(source), source, source), StoredForm(dtype))
        found = LlamaShape.of(self.manifest)
        assert found is not None
        self.device = device
        kv_shape = kv_shape_of(found, device)
        page_bytes = page_bytes_of([kv_shape])
        assert page_bytes is not None
        self.pages = KvPages(NUM_PAGES * page_bytes, page_bytes, device)
        self.model = CudaLlama(found, self.manifest.config, device, PagedStore(self.pages, kv_shape))
        self.contiguous = TorchLlama(found, self.manifest.config, device)
        self.flats = [self._flat(store.path(unit)) for unit in self.manifest.units]
        self.weights: list[Any] = [
            self.model.bind(unit, flat) for unit, flat in zip(self.manifest.units, self.flats, strict=True)
        ]

    def _flat(self, file: Path) -> torch.Tensor:
        return torch.frombuffer(bytearray(file.read_bytes()), dtype=torch.uint8).to(self.device)

    def prefilled(self, model: LlamaModel, lengths: Sequence[int]) -> tuple[list[Kv], list[int]]:
        """One sequence per length, and each one's next token."""
        kvs: list[Kv] = [model.new_kv(length + 80) for length in lengths]
        return kvs, self.eager(model, kvs, [ids(length, length) for length in lengths])

    def eager(self, model: LlamaModel, kvs: Sequence[Kv], chunks: Sequence[Sequence[int]]) -> list[int]:
        rows = [Row(tuple(chunk), kv) for chunk, kv in zip(chunks, kvs, strict=True)]
        return greedy(self.eager_logits(model, rows))

    def eager_logits(self, model: LlamaModel, rows: Sequence[Row]) -> torch.Tensor:
        step = Step(model, rows, len(self.weights))
        step.advance(len(self.weights), self.weights.__getitem__)
        return step.logits()


class Replayer:
    """A recorder for machines without a GPU: runs the work again in a replay's place."""

    def __init__(self, size_bytes: int = 0) -> None:
        self.pool_bytes = 0
        self.size_bytes = size_bytes
        self.num_closed = 0

    def record(self, work: Callable[[], None]) -> Recording:
        for _ in range(3):  # warm-up, capture and first replay
            work()
        return _Replay(self, work)


class _Replay:
    def __init__(self, recorder: Replayer, work: Callable[[], None]) -> None:
        self._recorder, self.replay = recorder, work
        self.size_bytes = recorder.size_bytes

    def close(self) -> None:
        self._recorder.num_closed += 1


def decode_rows(kvs: Sequence[Kv], tokens: Sequence[int]) -> list[Row]:
    return [Row((token,), kv) for token, kv in zip(tokens, kvs, strict=True)]


def greedy(logits: torch.Tensor) -> list[int]:
    found: list[int] = logits.argmax(dim=-1).tolist()
    return found


def ids(seed: int, count: int) -> list[int]:
    return torch.randint(3, 500, (count,), generator=torch.Generator().manual_seed(seed)).tolist()
