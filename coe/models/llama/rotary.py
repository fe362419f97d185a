"""Rotary position embedding (Su et al., arXiv 2104.09864) as a table of cosines and sines that grows with positions.

Frequencies and the attention scale come from transformers' own tables, so every constant rope type is covered.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

__all__ = ["CosSin", "RotaryTable", "rotate"]


class CosSin(NamedTuple):
    """Cosines and sines of some positions, each (positions, 1, head dim)."""

    cos: torch.Tensor
    sin: torch.Tensor


class RotaryTable:
    """One architecture's table on one device."""

    def __init__(self, config: Mapping[str, Any], max_positions: int, dtype: torch.dtype, device: torch.device) -> None:
        frequencies, self._scale = _frequencies(config)
        self._frequencies = frequencies.to(device)
        self._max_positions, self._dtype, self._device = max_positions, dtype, device
        self._table = self.compute(torch.arange(0, device=device))

    def at(self, positions: torch.Tensor, num_positions: int) -> CosSin:
        """Return the rows of positions, (n,), all below `num_positions`."""
        self._grow(num_positions)
        return CosSin(self._table.cos[positions], self._table.sin[positions])

    def compute(self, positions: torch.Tensor) -> CosSin:
        """Return the rows of positions, (n,), without the table."""
        angles = torch.outer(positions.float(), self._frequencies)
        both = torch.cat((angles, angles), dim=-1)[:, None]
        return CosSin((both.cos() * self._scale).to(self._dtype), (both.sin() * self._scale).to(self._dtype))

    def _grow(self, num_positions: int) -> None:
        if num_positions > self._table.cos.shape[0]:
            size = min(self._max_positions, 1 << math.ceil(math.log2(max(num_positions, 256))))
            self._table = self.compute(torch.arange(max(size, num_positions), device=self._device))


def rotate(x: torch.Tensor, table: CosSin) -> torch.Tensor:
    """Return x, (tokens, heads, head dim), rotated in transformers' half-split layout."""
    left, right = x.chunk(2, dim=-1)
    return x * table.cos + torch.cat((-right, left), dim=-1) * table.sin


def _frequencies(config: Mapping[str, Any]) -> tuple[torch.Tensor, float]:
    """Return inverse frequencies, (head dim / 2,), and the attention scale."""
    from transformers import AutoConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    values = {key: value for key, value in config.items() if key != "model_type"}
    rotary = LlamaRotaryEmbedding(AutoConfig.for_model(config["model_type"], **values))
    return rotary.inv_freq.float(), float(rotary.attention_scaling)
