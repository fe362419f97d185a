"""Keys and values of one sequence, contiguous per layer, sized once when the sequence is admitted.

Owned by the sequence and kept while other experts run, so a switch loses nothing. What may be allocated in all is
the scheduler's budget; this only holds the bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["KV_BLOCK_TOKENS", "KvShape", "SequenceKv"]

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


class SequenceKv:
    """(layers, kv heads, capacity, head dim), keys and values apart."""

    def __init__(self, shape: KvShape, num_tokens: int) -> None:
        size = (shape.num_layers, shape.num_kv_heads, shape.capacity(num_tokens), shape.head_dim)
        self._keys = torch.empty(size, dtype=shape.dtype, device=shape.device)
        self._values = torch.empty(size, dtype=shape.dtype, device=shape.device)
        self.length = 0

    def append(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Store new (tokens, kv heads, head dim) and return all so far, (kv heads, length, head dim) each."""
        end = self.length + keys.shape[0]
        self._keys[layer, :, self.length : end] = keys.transpose(0, 1)
        self._values[layer, :, self.length : end] = values.transpose(0, 1)
        return self._keys[layer, :, :end], self._values[layer, :, :end]

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
