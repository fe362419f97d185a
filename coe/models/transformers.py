"""The backend for every other architecture: transformers' own modules.

A skeleton is built once per architecture on the meta device and its parameters are pointed at an expert's units.
Sequences of a batch run one after another, each with transformers' own cache, so batched equals alone by construction.
A step needs all units before it computes. Slower than the backends of Llama's shape; right for whatever transformers
runs without remote code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from coe.models.kv import KvShape
from coe.models.llama.shape import TORCH_DTYPES
from coe.models.llama.torch_llama import dtype_name
from coe.models.model import Kv, Row
from coe.weights.unit import Manifest, Unit

__all__ = ["TransformersModel"]

MOST_TABLE_BYTES = 4 << 30


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
        self._tied = dict(manifest.tied)
        self._skeleton = _build_skeleton(manifest.config, device)
        self._slots = _parameter_slots(self._skeleton)
        dtype = TORCH_DTYPES[manifest.units[0].tensors[0].dtype]
        self._kv_shape = _kv_shape(self._skeleton.config, dtype, device)
        self.backend = f"transformers/torch/{dtype_name(dtype)}"

    def bind(self, unit: Unit, flat: torch.Tensor) -> dict[str, torch.Tensor]:
        return {
            spec.name: flat[spec.offset : spec.offset + spec.size_bytes].view(TORCH_DTYPES[spec.dtype]).view(spec.shape)
            for spec in unit.tensors
        }

    def kv_bytes(self, num_tokens: int) -> int:
        return self._kv_shape.size_bytes(num_tokens)

    def new_kv(self, num_tokens: int) -> _CacheKv:
        del num_tokens
        from transformers import DynamicCache

        return _CacheKv(DynamicCache(config=self._skeleton.config))

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
        self._point(tensors)
        try:
            return [self._run(row) for row in rows]
        finally:
            self._let_go()

    def _run(self, row: Row) -> torch.Tensor:
        assert isinstance(row.kv, _CacheKv)
        token_ids = torch.tensor([row.token_ids], device=self.device)
        kept = max(row.num_logits, 1)  # 0 would mean all of them
        out = self._skeleton(input_ids=token_ids, past_key_values=row.kv.cache, use_cache=True, logits_to_keep=kept)
        logits: torch.Tensor = out.logits[0, -kept:].float()
        return logits[: row.num_logits]

    def _point(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Make the skeleton's parameters these bytes: a pointer each, nothing is copied."""
        for slot in self._slots:
            source = tensors.get(self._tied.get(slot.name, slot.name))
            assert source is not None, f"no unit holds {slot.name}"
            slot.module._parameters[slot.attribute] = nn.Parameter(source, requires_grad=False)

    def _let_go(self) -> None:
        """Point at nothing again: a skeleton that held an evicted expert's bytes would keep them in memory."""
        for slot in self._slots:
            slot.module._parameters[slot.attribute] = slot.absent


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


def _build_skeleton(config: Mapping[str, Any], device: torch.device) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    values = {key: value for key, value in config.items() if key != "model_type"}
    settings = AutoConfig.for_model(config["model_type"], **values)
    with torch.device("meta"):
        skeleton = AutoModelForCausalLM.from_config(settings)
    _check_tables(skeleton)
    for module in skeleton.modules():
        absent = {name: buffer for name, buffer in module._buffers.items() if buffer is not None and buffer.is_meta}
        for name, buffer in absent.items():
            module._buffers[name] = torch.empty_like(buffer, device=device)
        if absent:  # tables such as rotary frequencies are computed, not stored
            skeleton._init_weights(module)
    return skeleton.eval()


def _check_tables(skeleton: nn.Module) -> None:
    """Raise ValueError for tables (masks, rotary frequencies) that a number of config.json makes absurdly large."""
    tables = {
        name: buffer.numel() * buffer.element_size() for name, buffer in skeleton.named_buffers() if buffer.is_meta
    }
    if sum(tables.values()) > MOST_TABLE_BYTES:
        largest = max(tables, key=lambda name: tables[name])
        raise ValueError(
            f"its config.json makes tables of {sum(tables.values()):,} bytes, such as {largest}, and at most "
            f"{MOST_TABLE_BYTES:,} are made; correct max_position_embeddings"
        )


class _Slot(NamedTuple):
    """Where the skeleton keeps one parameter; `absent` is its stand-in on the meta device."""

    name: str
    module: nn.Module
    attribute: str
    absent: nn.Parameter


def _parameter_slots(skeleton: nn.Module) -> list[_Slot]:
    """Every parameter's slot, tied ones under each of their names."""
    return [
        _Slot(f"{prefix}.{attribute}" if prefix else attribute, module, attribute, parameter)
        for prefix, module in skeleton.named_modules()
        for attribute, parameter in module._parameters.items()
        if parameter is not None
    ]


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
