"""Keys and values of one sequence, contiguous per head, in memory that grows with its tokens.

Owned by the sequence and kept while other experts run, so a switch loses nothing. The scheduler's budget
(scheduling/kv_budget.py) says how much all sequences may use; this module holds the bytes, and never more than
`size_bytes` of the tokens that it has been told of. On a CPU a sequence reserves addresses for its largest length; a
page takes memory when a token reaches it and goes back to the system with the sequence. Other devices have no such
pages: there KV is moved when it grows.
"""

from __future__ import annotations

import functools
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

__all__ = ["KV_BLOCK_TOKENS", "ContiguousStore", "KvShape", "Place", "SequenceKv", "Window"]

KV_BLOCK_TOKENS = 64  # reservations are rounded up to this


@dataclass(frozen=True, slots=True)
class KvShape:
    """The memory of one sequence: layers x 2 x heads rows of tokens, each row beginning on a page of its own."""

    num_layers: int
    num_kv_heads: int
    head_dim: int
    dtype: torch.dtype
    device: torch.device

    def capacity(self, num_tokens: int) -> int:
        return -(-num_tokens // KV_BLOCK_TOKENS) * KV_BLOCK_TOKENS

    def row_bytes(self, num_tokens: int) -> int:
        """One head's keys or values in one layer, in whole pages."""
        size_bytes = self.capacity(num_tokens) * self.head_dim * self.dtype.itemsize
        return -(-size_bytes // mmap.PAGESIZE) * mmap.PAGESIZE

    def size_bytes(self, num_tokens: int) -> int:
        return 2 * self.num_layers * self.num_kv_heads * self.row_bytes(num_tokens)


class Window(NamedTuple):
    """One step's views of a sequence, one tensor per layer.

    `new_*` are where the new tokens go, (kv heads, new, head dim); `keys` and `values` are all tokens with them,
    (kv heads, length, head dim). Made once a step: a view costs as much as a small matmul.
    """

    new_keys: tuple[torch.Tensor, ...]
    new_values: tuple[torch.Tensor, ...]
    keys: tuple[torch.Tensor, ...]
    values: tuple[torch.Tensor, ...]

    def put(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Store the new tokens' keys and values, (kv heads, new, head dim), and return all of them."""
        self.new_keys[layer].copy_(keys)
        self.new_values[layer].copy_(values)
        return self.keys[layer], self.values[layer]


class Place(NamedTuple):
    """Where compiled code finds what one new token sees.

    `keys` and `values` are addresses of the first token in the first layer's first head; `layer_bytes` lie between
    layers, `head_floats` numbers between heads; `length` counts the tokens with the new one, which has the last place.
    """

    keys: int
    values: int
    layer_bytes: int
    head_floats: int
    length: int


class SequenceKv:
    """One sequence's KV, (layers, kv heads, capacity, head dim) each; it can grow to `num_tokens_max`."""

    def __init__(self, shape: KvShape, num_tokens_max: int) -> None:
        self._shape = shape
        self._hold(num_tokens_max if shape.device.type == "cpu" and _is_address_space_free() else 0)
        self.length = 0

    def reserve(self, num_tokens: int) -> None:
        """Make room for `num_tokens` in all, which the scheduler has reserved."""
        if num_tokens > self._keys.shape[2]:
            keys, values = self._keys, self._values
            self._hold(num_tokens)
            self._take(keys, values, self.length)

    def window(self, num_new: int, most: int | None = None) -> Window:
        """Return views for a step that brings `num_new` tokens; a single one sees the last `most`, itself included."""
        end = self.length + num_new
        start = max(0, end - most) if num_new == 1 and most is not None else 0
        new = (whole[:, :, self.length : end] for whole in (self._keys, self._values))
        seen = (whole[:, :, start:end] for whole in (self._keys, self._values))
        return Window(*(views.unbind(0) for views in (*new, *seen)))

    def place(self, most: int | None = None) -> Place:
        """Return the place of one new token that sees the last `most`, itself included."""
        length, whole = self.length + 1, self._keys
        start = max(0, length - most) if most is not None else 0
        offset = start * whole.stride(2) * whole.itemsize
        return Place(
            whole.data_ptr() + offset,
            self._values.data_ptr() + offset,
            whole.stride(0) * whole.itemsize,
            whole.stride(1),
            length - start,
        )

    def copy(self, num_tokens: int, num_tokens_max: int) -> SequenceKv:
        """Return other KV for up to `num_tokens_max` tokens that begins with the first `num_tokens` of this one."""
        assert num_tokens <= min(self.length, num_tokens_max)
        fresh = SequenceKv(self._shape, num_tokens_max)
        fresh.reserve(num_tokens)
        fresh._take(self._keys, self._values, num_tokens)
        fresh.length = num_tokens
        return fresh

    def advance(self, num_tokens: int) -> None:
        """The new tokens are complete in every layer."""
        self.length += num_tokens

    def _hold(self, num_tokens: int) -> None:
        shape = self._shape
        whole = _memory(shape.size_bytes(num_tokens), shape.device).view(shape.dtype)
        rows = whole.view(2, shape.num_layers, shape.num_kv_heads, shape.row_bytes(num_tokens) // shape.dtype.itemsize)
        capacity = shape.capacity(num_tokens)
        rows = rows[..., : capacity * shape.head_dim].unflatten(-1, (capacity, shape.head_dim))
        self._keys, self._values = rows.unbind(0)

    def _take(self, keys: torch.Tensor, values: torch.Tensor, num_tokens: int) -> None:
        self._keys[:, :, :num_tokens] = keys[:, :, :num_tokens]
        self._values[:, :, :num_tokens] = values[:, :, :num_tokens]


@functools.cache
def _is_address_space_free() -> bool:
    """Return whether untouched memory costs nothing: not where the kernel refuses to overcommit."""
    setting = Path("/proc/sys/vm/overcommit_memory")
    return not setting.exists() or setting.read_text().strip() != "2"


def _memory(size_bytes: int, device: torch.device) -> torch.Tensor:
    """Return flat bytes; on a CPU they are only addresses until they are written to."""
    if device.type != "cpu" or not size_bytes:
        return torch.empty(size_bytes, dtype=torch.uint8, device=device)
    pages = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        pages.madvise(mmap.MADV_NOHUGEPAGE)  # one token would take 2 MiB in every row
    return torch.from_numpy(np.frombuffer(pages, np.uint8))


class ContiguousStore:
    """Makes and copies the KV of one shape's sequences; a GPU has `paged_kv.PagedStore` in its place."""

    def __init__(self, shape: KvShape) -> None:
        self.shape = shape

    def size_bytes(self, num_tokens: int) -> int:
        return self.shape.size_bytes(num_tokens)

    def new(self, num_tokens: int) -> SequenceKv:
        return SequenceKv(self.shape, num_tokens)

    def copy(self, kv: SequenceKv, num_tokens: int, room: int) -> SequenceKv:
        return kv.copy(num_tokens, room)
