"""Keys and values of one sequence, contiguous per layer, sized once when the sequence is admitted.

Owned by the sequence and kept while other experts run, so a switch loses nothing. What may be allocated in all is
the scheduler's budget; this only holds the bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

__all__ = ["KV_BLOCK_TOKENS", "ContiguousStore", "KvShape", "SequenceKv", "Window"]

KV_BLOCK_TOKENS = 64  # capacities are rounded up to this


@dataclass(frozen=True, slots=True)
class KvShape:
    """What one token's keys and values take: layers x 2 x heads x dim x element size."""

    num_layers: int
    num_kv_heads: int
    head_dim: int
    dtype: torch.dtype
    device: torch.device

    def capacity(self, num_tokens: int) -> int:
        return -(-num_tokens // KV_BLOCK_TOKENS) * KV_BLOCK_TOKENS

    def size_bytes(self, num_tokens: int) -> int:
        per_token = 2 * self.num_layers * self.num_kv_heads * self.head_dim * self.dtype.itemsize
        return self.capacity(num_tokens) * per_token


class Window(NamedTuple):
    """One step's views of a sequence, a tensor per layer: where the new tokens go, (kv heads, new, head dim), and all
    there are with them, (kv heads, length, head dim). Made once a step: a view costs as much as a small product."""

    new_keys: tuple[torch.Tensor, ...]
    new_values: tuple[torch.Tensor, ...]
    keys: tuple[torch.Tensor, ...]
    values: tuple[torch.Tensor, ...]

    def put(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Take the new tokens' keys and values, (kv heads, new, head dim), and return all there are with them."""
        self.new_keys[layer].copy_(keys)
        self.new_values[layer].copy_(values)
        return self.keys[layer], self.values[layer]


class SequenceKv:
    """(layers, kv heads, capacity, head dim), keys and values apart."""

    def __init__(self, shape: KvShape, num_tokens: int) -> None:
        size = (shape.num_layers, shape.num_kv_heads, shape.capacity(num_tokens), shape.head_dim)
        self._keys = torch.empty(size, dtype=shape.dtype, device=shape.device)
        self._values = torch.empty(size, dtype=shape.dtype, device=shape.device)
        self.length = 0

    def window(self, num_new: int, most: int | None = None) -> Window:
        """Views for a step that brings `num_new` tokens; a single one sees the last `most` tokens, itself included."""
        end = self.length + num_new
        start = max(0, end - most) if num_new == 1 and most is not None else 0
        new = (whole[:, :, self.length : end] for whole in (self._keys, self._values))
        seen = (whole[:, :, start:end] for whole in (self._keys, self._values))
        return Window(*(views.unbind(0) for views in (*new, *seen)))

    def copy(self, shape: KvShape, num_tokens: int, room: int) -> SequenceKv:
        """KV of its own with room for `room` tokens that begins with the first `num_tokens` of these."""
        assert num_tokens <= min(self.length, room)
        fresh = SequenceKv(shape, room)
        fresh._keys[:, :, :num_tokens] = self._keys[:, :, :num_tokens]
        fresh._values[:, :, :num_tokens] = self._values[:, :, :num_tokens]
        fresh.length = num_tokens
        return fresh

    def advance(self, num_tokens: int) -> None:
        """The new tokens are complete in every layer."""
        self.length += num_tokens


class ContiguousStore:
    """Makes and copies the KV of one shape's sequences; a GPU has `paged_kv.PagedStore` in its place."""

    def __init__(self, shape: KvShape) -> None:
        self.shape = shape

    def size_bytes(self, num_tokens: int) -> int:
        return self.shape.size_bytes(num_tokens)

    def new(self, num_tokens: int) -> SequenceKv:
        return SequenceKv(self.shape, num_tokens)

    def copy(self, kv: SequenceKv, num_tokens: int, room: int) -> SequenceKv:
        return kv.copy(self.shape, num_tokens, room)
