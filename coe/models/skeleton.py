"""A skeleton: transformers' own modules on the meta device, whose parameters are pointed at an expert's units to run.

Owns building it and pointing: nothing is copied, and it lets go of the units after each pass. Knows nothing about
passes, KV or pooling.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn

from coe.models.llama.shape import TORCH_DTYPES
from coe.weights.store.layout import ModelKind, build_model
from coe.weights.unit import Manifest, Unit

__all__ = ["Skeleton", "views_of"]

MOST_TABLE_BYTES = 4 << 30


class Skeleton:
    """The modules that run every expert of one configuration and kind; `module` computes while it points at weights."""

    def __init__(self, manifest: Manifest, device: torch.device, kind: ModelKind = "chat") -> None:
        self.module = _build_skeleton(manifest.config, device, kind)
        self._tied = dict(manifest.tied)
        self._slots = _parameter_slots(self.module)

    @contextmanager
    def pointed_at(self, tensors: Mapping[str, torch.Tensor]) -> Iterator[Any]:
        """Make the parameters these bytes inside the block, a pointer each, and yield the module."""
        try:
            for slot in self._slots:
                source = tensors.get(self._tied.get(slot.name, slot.name))
                assert source is not None, f"no unit holds {slot.name}"
                slot.module._parameters[slot.attribute] = nn.Parameter(source, requires_grad=False)
            yield self.module
        finally:  # a skeleton that held an evicted expert's bytes would keep them in memory
            for slot in self._slots:
                slot.module._parameters[slot.attribute] = slot.absent


def views_of(unit: Unit, flat: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the tensors of a unit's flat bytes by name; nothing is copied."""
    return {
        spec.name: flat[spec.offset : spec.offset + spec.size_bytes].view(TORCH_DTYPES[spec.dtype]).view(spec.shape)
        for spec in unit.tensors
    }


def _build_skeleton(config: Mapping[str, Any], device: torch.device, kind: ModelKind) -> Any:
    from transformers import AutoConfig

    values = {key: value for key, value in config.items() if key != "model_type"}
    settings = AutoConfig.for_model(config["model_type"], **values)
    with torch.device("meta"):
        skeleton = build_model(kind, settings)
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
