"""The CUDA backend of Llama's shape: torch's operators over paged KV, and captured steps for resident experts.

A step in which each sequence brings one token, of an expert whose units are all on the device, is replayed from a CUDA
graph where there is one; everything else is an eager ragged pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from coe.models.cuda.graphs import DecodeGraphs
from coe.models.cuda.paged_kv import PagedStore
from coe.models.cuda.static_step import StaticStep
from coe.models.llama.shape import LlamaShape
from coe.models.llama.torch_llama import TorchLlama, dtype_name
from coe.models.model import ForwardPass, Row, is_decode_row

__all__ = ["CudaLlama"]


class CudaLlama(TorchLlama):
    """Llama's shape with its KV in pages. All models of a device share `graphs`; None: all steps are eager."""

    def __init__(
        self,
        shape: LlamaShape,
        config: Mapping[str, Any],
        device: torch.device,
        kv: PagedStore,
        graphs: DecodeGraphs | None = None,
    ) -> None:
        super().__init__(shape, config, device, kv)
        self.backend = f"llama/cuda/{dtype_name(shape.dtype)}"
        self.graphs = graphs
        self.static_step = StaticStep(shape, kv, self.rotary)

    def new_pass(self, rows: Sequence[Row], is_whole: bool) -> ForwardPass:
        if self.graphs is not None and is_whole and all(map(is_decode_row, rows)):
            return _CapturedPass(self, self.graphs, rows)
        return self.eager_pass(rows)

    def eager_pass(self, rows: Sequence[Row]) -> ForwardPass:
        return super().new_pass(rows, is_whole=False)

    def close(self) -> None:
        if self.graphs is not None:
            self.graphs.close()

    def check_integrity(self) -> None:
        if self.graphs is not None:
            self.graphs.check_integrity()


class _CapturedPass:
    """A decode step of a whole expert: it collects the units' weights and runs at the last one; see `ForwardPass`."""

    def __init__(self, model: CudaLlama, graphs: DecodeGraphs, rows: Sequence[Row]) -> None:
        self._model, self._graphs, self._rows = model, graphs, rows
        self._num_units = model.shape.num_layers + 2
        self._weights: list[Any] = []
        self._eager: ForwardPass | None = None
        self._logits: torch.Tensor | None = None

    def run_unit(self, index: int, weights: Any) -> None:
        self._weights.append(weights)
        if index < self._num_units - 1:
            return
        self._logits = self._graphs.run(self._model.static_step, self._weights, self._rows)
        if self._logits is None:
            self._eager = self._model.eager_pass(self._rows)
            for at, each in enumerate(self._weights):
                self._eager.run_unit(at, each)

    def attach(self, first: Any) -> None:
        self._weights[0] = first

    def logits(self) -> torch.Tensor:
        if self._logits is not None:
            return self._logits
        assert self._eager is not None
        return self._eager.logits()
