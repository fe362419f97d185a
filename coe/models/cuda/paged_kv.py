"""Keys and values in pages of one buffer that sequences of every shape share: a GPU's KV.

A page is as large as a block of 64 tokens of the largest shape, so it holds one block of that shape or several of a
smaller one, and one free list serves all. Within a page a block's layers lie one after another, so a layer of a block
is one row of a table with fixed addresses: that is what a captured decode step reads. Pages are counted: a prefix and
the sequence that continues it share pages, and a sequence that writes into a shared page gets its own copy first. A
page goes back when the last KV that uses it does. The scheduler's budget says how much may be in use.

Not covered: transformers' own caches (transformers.py), which are contiguous.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import torch

from coe.models.cuda.pinned import sent
from coe.models.kv import KV_BLOCK_TOKENS, KvShape

__all__ = ["KvPages", "PagedKv", "PagedStore", "PagedWindow", "page_bytes_of"]

_WASTE = 2  # times the largest block: beyond that the shapes' rows do not fit together


def page_bytes_of(shapes: Collection[KvShape]) -> int | None:
    """Return the size of a page that every shape's rows divide, None where it would be out of proportion."""
    largest = max(shape.num_layers * _row_bytes(shape) for shape in shapes)
    row = math.lcm(*(_row_bytes(shape) for shape in shapes))
    page = -(-largest // row) * row
    return page if page <= _WASTE * largest else None


def _row_bytes(shape: KvShape) -> int:
    """One layer of one block."""
    return KV_BLOCK_TOKENS * 2 * shape.num_kv_heads * shape.head_dim * shape.dtype.itemsize


class KvPages:
    """The buffer and how many sequences use each page of it. Owned by the engine thread.

    Page 0 belongs to no sequence: rows that pad a batch write there.
    """

    def __init__(self, budget_bytes: int, page_bytes: int, device: torch.device) -> None:
        num_pages = budget_bytes // page_bytes
        assert num_pages >= 2, f"{budget_bytes} bytes are no two pages of {page_bytes}"
        self.page_bytes = page_bytes
        self._buffer = torch.zeros(num_pages, page_bytes, dtype=torch.uint8, device=device)
        self._free = list(range(num_pages - 1, 0, -1))
        self._uses = [0] * num_pages

    @property
    def budget_bytes(self) -> int:
        """What sequences may use."""
        return (len(self._uses) - 1) * self.page_bytes

    @property
    def used_bytes(self) -> int:
        return self.budget_bytes - len(self._free) * self.page_bytes

    def rows(self, dtype: torch.dtype, row_bytes: int) -> torch.Tensor:
        """The buffer as (rows, elements of a row)."""
        return self._buffer.view(-1).view(dtype).view(-1, row_bytes // dtype.itemsize)

    def allocate(self) -> int:
        """Return a page of zeros: masked values are still multiplied with 0, and stale bytes could read as NaN."""
        page = self._take()
        self._buffer[page].zero_()
        return page

    def share(self, page: int) -> None:
        self._uses[page] += 1

    def own(self, page: int) -> int:
        """Return the page itself if one KV uses it, else a copy for the KV that wants to write."""
        if self._uses[page] == 1:
            return page
        copy = self._take()
        self._buffer[copy].copy_(self._buffer[page])
        self.release(page)
        return copy

    def release(self, page: int) -> None:
        self._uses[page] -= 1
        if not self._uses[page]:
            self._free.append(page)

    def _take(self) -> int:
        if not self._free:
            raise MemoryError(f"all {self.budget_bytes:,} bytes of KV cache are in use: more was run than was reserved")
        page = self._free.pop()
        self._uses[page] = 1
        return page

    def check_integrity(self) -> None:
        """Raise AssertionError if pages are lost or given out twice."""
        free = set(self._free)
        assert len(free) == len(self._free)
        assert self._uses[0] == 0
        assert free == {page for page, uses in enumerate(self._uses) if page and not uses}


class PagedStore:
    """The pages as one shape sees them: makes and copies its sequences' KV.

    `tokens`: (slots, 2 * kv heads * head dim), a token's keys then its values in one layer; `blocks`: (rows, 64 times
    that). Row `base + layer` is a layer of the block at `base`; its token `n` is in slot `row * 64 + n`.
    """

    def __init__(self, pages: KvPages, shape: KvShape) -> None:
        row_bytes = _row_bytes(shape)
        assert pages.page_bytes % row_bytes == 0, f"rows of {row_bytes} bytes do not divide pages"
        self.pages, self.shape = pages, shape
        self.blocks = pages.rows(shape.dtype, row_bytes)
        self.tokens = pages.rows(shape.dtype, row_bytes // KV_BLOCK_TOKENS)
        self.rows_per_page = pages.page_bytes // row_bytes
        self.blocks_per_page = self.rows_per_page // shape.num_layers
        self.layers = torch.arange(shape.num_layers, device=shape.device)[:, None]
        assert self.blocks_per_page > 0

    @property
    def page_tokens(self) -> int:
        return self.blocks_per_page * KV_BLOCK_TOKENS

    def size_bytes(self, num_tokens: int) -> int:
        return -(-num_tokens // self.page_tokens) * self.pages.page_bytes

    def new(self, num_tokens: int) -> PagedKv:  # noqa: ARG002
        """KV that takes its pages as it grows."""
        return PagedKv(self)

    def copy(self, kv: PagedKv, num_tokens: int, room: int) -> PagedKv:
        assert num_tokens <= min(kv.length, room)
        return kv.share(num_tokens)


class PagedKv:
    """One sequence's pages, in order."""

    def __init__(self, store: PagedStore) -> None:
        self._store = store
        self._pages: list[int] = []
        self.length = 0

    def __del__(self) -> None:
        for page in self._pages:  # no step can write into them any more, not even one that was under way
            self._store.pages.release(page)

    def reserve(self, num_tokens: int) -> None:
        """Make room for `num_tokens` in all, in pages of its own beyond the tokens that are there."""
        store, at = self._store, self.length // self._store.page_tokens
        if at < len(self._pages) and num_tokens > self.length:
            self._pages[at] = store.pages.own(self._pages[at])
        while len(self._pages) * store.page_tokens < num_tokens:
            self._pages.append(store.pages.allocate())

    def bases(self, first: int, end: int) -> list[int]:
        """The rows at which the blocks from `first` to before `end` begin."""
        store = self._store
        places = (divmod(block, store.blocks_per_page) for block in range(first, end))
        return [self._pages[page] * store.rows_per_page + nth * store.shape.num_layers for page, nth in places]

    def slot(self, position: int) -> int:
        """Where a token goes in the first layer; each further one is 64 slots on."""
        block, nth = divmod(position, KV_BLOCK_TOKENS)
        return self.bases(block, block + 1)[0] * KV_BLOCK_TOKENS + nth

    def share(self, num_tokens: int) -> PagedKv:
        """KV that begins with the first `num_tokens` of these and has the same pages."""
        other = PagedKv(self._store)
        for page in self._pages[: -(-num_tokens // self._store.page_tokens)]:
            self._store.pages.share(page)
            other._pages.append(page)
        other.length = num_tokens
        return other

    def window(self, num_new: int, most: int | None = None) -> PagedWindow:
        """A step that brings `num_new` tokens; a single one sees the last `most` tokens, itself included."""
        end = self.length + num_new
        self.reserve(end)
        start = max(0, end - most) if num_new == 1 and most is not None else 0
        first = start // KV_BLOCK_TOKENS
        bases = self.bases(first, -(-end // KV_BLOCK_TOKENS))
        slots = [self.slot(position) for position in range(self.length, end)]
        return PagedWindow(self._store, bases, slots, start - first * KV_BLOCK_TOKENS, end - first * KV_BLOCK_TOKENS)

    def advance(self, num_tokens: int) -> None:
        """The new tokens are complete in every layer."""
        self.length += num_tokens


class PagedWindow:
    """One eager step's view of a sequence; see kv.Window."""

    def __init__(self, store: PagedStore, bases: Sequence[int], slots: Sequence[int], start: int, end: int) -> None:
        self._store, self._start, self._end = store, start, end
        places = sent(torch.tensor([*bases, *slots]), store.shape.device)
        self._rows = (places[: len(bases)] + store.layers).unbind(0)
        self._slots = (places[len(bases) :] + store.layers * KV_BLOCK_TOKENS).unbind(0)

    def put(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Store the new tokens' keys and values, (kv heads, new, head dim), and return all of them."""
        store, shape = self._store, self._store.shape
        new = torch.cat((keys, values)).transpose(0, 1).reshape(keys.shape[1], -1)
        store.tokens.index_copy_(0, self._slots[layer], new)
        seen = store.blocks.index_select(0, self._rows[layer]).view(-1, 2 * shape.num_kv_heads, shape.head_dim)
        seen_keys, seen_values = seen[self._start : self._end].transpose(0, 1).split(shape.num_kv_heads)
        return seen_keys, seen_values
