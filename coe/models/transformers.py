"""The backend for every other architecture: transformers' own modules.

A skeleton is built once per architecture on the meta device and its parameters are pointed at an expert's units.
Sequences of a batch run one after another, each with transformers' own cache, so batched equals alone by construction.
A step needs all units before it computes. Slower than the backends of Llama's shape; right for whatever transformers
runs without remote code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from coe.models.kv import KvShape
from coe.models.llama.shape import TORCH_DTYPES
from coe.models.llama.torch_llama import dtype_name
from coe.models.model import Kv, Row
from coe.models.skeleton import Skeleton, views_of
from coe.weights.unit import Manifest, Unit

__all__ = ["TransformersModel"]


class _CacheKv:
    """transformers' DynamicCache behind the Kv seam."""

    def __init__(self, cache: Any) -> None:
        self.cache = cache

    @property
    def length(self) -> int:
        return int(self.cache.get_seq_length())

    def reserve(self, num_tokens: int) -> None:
        """It grows by itself, a layer at a time."""


class TransformersModel:
    """Runs any expert of one configuration through transformers' modules; holds a skeleton, no weights."""

    runs_by_unit = False
    copies_kv = False  # transformers' caches differ by architecture (windows, states)

    def __init__(self, manifest: Manifest, device: torch.device) -> None:
        self.device = device
        self.num_units = len(manifest.units)
        self._skeleton = Skeleton(manifest, device)
        dtype = TORCH_DTYPES[manifest.units[0].tensors[0].dtype]
        self._kv_shape = _kv_shape(self._skeleton.module.config, dtype, device)
        self.backend = f"transformers/torch/{dtype_name(dtype)}"

    def bind(self, unit: Unit, flat: torch.Tensor) -> dict[str, torch.Tensor]:
        return views_of(unit, flat)

    def kv_bytes(self, num_tokens: int) -> int:
        return self._kv_shape.size_bytes(num_tokens)

    def new_kv(self, num_tokens: int) -> _CacheKv:
        del num_tokens
        from transformers import DynamicCache

        return _CacheKv(DynamicCache(config=self._skeleton.module.config))

    def copy_kv(self, kv: Kv, num_tokens: int, room: int) -> Kv:
        del kv, num_tokens, room
        raise AssertionError("transformers' caches are not copied")

    def begin(self, rows: Sequence[Row], *, is_whole: bool = False) -> _Pass:  # noqa: ARG002
        return _Pass(self, rows)

    def close(self) -> None:
        """Do nothing: the skeleton lives in the process's own memory."""

    def check_integrity(self) -> None:
        """Do nothing, as `close`."""

    def run(self, rows: Sequence[Row], tensors: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
        """Point the skeleton at these parameters, run one sequence after another, and let go of the parameters."""
        with self._skeleton.pointed_at(tensors) as module:
            return [self._run(module, row) for row in rows]

    def _run(self, module: Any, row: Row) -> torch.Tensor:
        assert isinstance(row.kv, _CacheKv)
        token_ids = torch.tensor([row.token_ids], device=self.device)
        kept = max(row.num_logits, 1)  # 0 would mean all of them
        out = module(input_ids=token_ids, past_key_values=row.kv.cache, use_cache=True, logits_to_keep=kept)
        logits: torch.Tensor = out.logits[0, -kept:].float()
        return logits[: row.num_logits]


class _Pass:
    """One forward pass: it collects the units' parameters and runs at the last one; see `model.ForwardPass`."""

    def __init__(self, model: TransformersModel, rows: Sequence[Row]) -> None:
        self._model, self._rows = model, rows
        self._bound: dict[str, torch.Tensor] = {}
        self._logits: list[torch.Tensor] = []

    def run_unit(self, index: int, weights: Mapping[str, torch.Tensor]) -> None:
        self._bound.update(weights)
        if index == self._model.num_units - 1:
            self._logits = self._model.run(self._rows, self._bound)
            self._bound.clear()

    def attach(self, first: Mapping[str, torch.Tensor]) -> None:
        self._bound.update(first)

    def logits(self) -> torch.Tensor:
        return torch.cat(self._logits)


def _kv_shape(config: Any, dtype: torch.dtype, device: torch.device) -> KvShape:
    text = config.get_text_config(decoder=True)
    num_heads = text.num_attention_heads
    return KvShape(
        num_layers=text.num_hidden_layers,
        num_kv_heads=getattr(text, "num_key_value_heads", None) or num_heads,
        head_dim=getattr(text, "head_dim", None) or text.hidden_size // num_heads,
        dtype=dtype,
        device=device,
    )
