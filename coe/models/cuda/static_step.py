"""A decode step with fixed shapes and addresses, which a CUDA graph can capture; it gives the tokens of a ragged pass.

A pure function of one small table of integers over bound weights and paged KV: one token a row, rows padded to a
bucket, every row's blocks gathered to a common length and masked. The number of kernels matters more than bytes here:
at batch 1 a small kernel costs as much as reading some megabytes of weights. So values are rotated with queries and
keys (by angle 0), keys and values are written at once, and matmuls add the residuals. In float32 that changes last bits
at most; in bfloat16 it rounds less often than a ragged pass. Knows nothing about capture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from coe.models.cuda.paged_kv import PagedKv, PagedStore
from coe.models.kv import KV_BLOCK_TOKENS
from coe.models.llama.rotary import RotaryTable
from coe.models.llama.shape import LlamaShape
from coe.models.model import Row

__all__ = ["BATCH_BUCKETS", "Bucket", "StaticStep", "fill", "num_blocks"]

BATCH_BUCKETS = (1, 2, 4, 8, 16, 32)
_LEAST_BLOCKS = 2
_NUM_FACTS = 5  # of a row: token, position, slot, first and last key that it sees
_SCRATCH = 0  # the base row of the page that no sequence owns


class Bucket(NamedTuple):
    """The size of a step: rows, and blocks that each of them sees."""

    num_rows: int
    num_blocks: int

    @classmethod
    def of(cls, num_rows: int, num_blocks: int) -> Bucket | None:
        """The smallest that holds so much; None for more rows than the largest has."""
        rows = next((size for size in BATCH_BUCKETS if size >= num_rows), None)
        return None if rows is None else cls(rows, max(_LEAST_BLOCKS, 1 << (num_blocks - 1).bit_length()))

    @property
    def num_tokens(self) -> int:
        return self.num_rows * self.num_blocks * KV_BLOCK_TOKENS

    def new_inputs(self, device: torch.device) -> torch.Tensor:
        return torch.zeros(_NUM_FACTS + self.num_blocks, self.num_rows, dtype=torch.long, device=device)


def first_block(length: int, window: int | None) -> int:
    """The block in which the next token of a sequence of this length sees its first key."""
    return 0 if window is None else max(0, length + 1 - window) // KV_BLOCK_TOKENS


def num_blocks(row: Row, window: int | None) -> int:
    """Blocks that the row's token sees, its own included."""
    return row.kv.length // KV_BLOCK_TOKENS + 1 - first_block(row.kv.length, window)


def fill(bucket: Bucket, rows: Sequence[Row], window: int | None) -> list[list[int]]:
    """The step's inputs as (facts and blocks, rows); the sequences have room for their token after this.

    A row that ends before the bucket does repeats its first block, never somebody else's: what is masked is still
    multiplied with 0, and another's NaN would not become 0.
    """
    table = [_facts(row, bucket.num_blocks, window) for row in rows]
    nobody = [0, 0, _SCRATCH * KV_BLOCK_TOKENS, 0, 1, *[_SCRATCH] * bucket.num_blocks]
    table += [nobody] * (bucket.num_rows - len(rows))
    return [list(column) for column in zip(*table, strict=True)]


def _facts(row: Row, width: int, window: int | None) -> list[int]:
    kv = row.kv
    assert isinstance(kv, PagedKv)
    kv.reserve(kv.length + 1)
    position, first = kv.length, first_block(kv.length, window)
    skipped = first * KV_BLOCK_TOKENS
    start = 0 if window is None else max(0, position + 1 - window)
    bases = kv.bases(first, position // KV_BLOCK_TOKENS + 1)
    bases += bases[:1] * (width - len(bases))
    return [row.token_ids[0], position, kv.slot(position), start - skipped, position + 1 - skipped, *bases]


class _Shared(NamedTuple):
    """What every layer of a step reads."""

    cos: torch.Tensor  # (rows, heads + 2 * kv heads, head dim)
    sin: torch.Tensor  # the same, the first half of each head negated
    bias: torch.Tensor  # (rows, 1, 1, tokens): 0 where a key is seen, else -inf
    slots: tuple[torch.Tensor, ...]  # per layer, (rows,)
    blocks: tuple[torch.Tensor, ...]  # per layer, (rows * blocks,)


class StaticStep:
    """One Llama shape's decode step; holds no weights."""

    def __init__(self, shape: LlamaShape, store: PagedStore, rotary: RotaryTable) -> None:
        self.shape, self.store, self.device = shape, store, store.shape.device
        self._rotary = rotary
        half = torch.ones(shape.head_dim // 2, dtype=shape.dtype, device=self.device)
        self._sign = torch.cat((-half, half))

    def workspace_bytes(self, bucket: Bucket) -> int:
        """What gathering one layer of every row's blocks takes."""
        return bucket.num_tokens * self.store.tokens.shape[1] * self.shape.dtype.itemsize

    def run(self, weights: Sequence[Any], inputs: torch.Tensor, workspace: torch.Tensor) -> torch.Tensor:
        """Return logits, (rows, vocab), in the model's dtype; keys and values go to their slots.

        `weights` are what `binding.bind` made of every unit, `inputs` a bucket's (see `fill`) on the device,
        `workspace` at least `workspace_bytes` of flat bytes.
        """
        embed, *layers, head = weights
        shared = self._shared(inputs)
        gathered = self._gathered(inputs, workspace)
        hidden = F.embedding(inputs[0], embed.weight)
        with _backend(hidden.device):
            for index, layer in enumerate(layers):
                self._layer(index, layer, hidden, shared, gathered)
        last = self._norm(hidden, head.norm)
        return F.linear(last, embed.weight if head.lm_head is None else head.lm_head)

    def _shared(self, inputs: torch.Tensor) -> _Shared:
        shape, layers = self.shape, self.store.layers
        num_rows, length = inputs.shape[1], (inputs.shape[0] - _NUM_FACTS) * KV_BLOCK_TOKENS
        _, positions, slots, starts, ends = inputs[:_NUM_FACTS].unbind(0)
        cos, sin = self._rotary.compute(positions)
        heads, rest = shape.num_heads + shape.num_kv_heads, (num_rows, shape.num_kv_heads, shape.head_dim)
        keys = torch.arange(length, device=inputs.device)
        is_hidden = (keys < starts[:, None]) | (keys >= ends[:, None])
        bias = torch.zeros(num_rows, length, dtype=shape.dtype, device=inputs.device)
        return _Shared(
            cos=torch.cat((cos.expand(-1, heads, -1), torch.ones(rest, dtype=cos.dtype, device=cos.device)), dim=1),
            sin=torch.cat(((sin * self._sign).expand(-1, heads, -1), torch.zeros_like(cos).expand(rest)), dim=1),
            bias=bias.masked_fill_(is_hidden, float("-inf"))[:, None, None],
            slots=(slots + layers * KV_BLOCK_TOKENS).unbind(0),
            blocks=(inputs[_NUM_FACTS:].t().reshape(1, -1) + layers).unbind(0),
        )

    def _gathered(self, inputs: torch.Tensor, workspace: torch.Tensor) -> torch.Tensor:
        num_rows, width = (inputs.shape[0] - _NUM_FACTS) * inputs.shape[1], self.store.blocks.shape[1]
        size_bytes = num_rows * width * self.shape.dtype.itemsize
        return workspace[:size_bytes].view(self.shape.dtype).view(num_rows, width)

    def _layer(self, index: int, w: Any, hidden: torch.Tensor, shared: _Shared, gathered: torch.Tensor) -> None:
        """Add the layer's two halves to `hidden`, (rows, hidden), in place."""
        qkv = self._qkv(index, w, self._norm(hidden, w.input_norm), shared)
        num_heads, num_rows = self.shape.num_heads, len(hidden)
        self.store.tokens.index_copy_(0, shared.slots[index], qkv[:, num_heads:].reshape(num_rows, -1))
        torch.index_select(self.store.blocks, 0, shared.blocks[index], out=gathered)
        mixed = self._attend(qkv[:, :num_heads], gathered, shared.bias)
        hidden.addmm_(mixed, w.out.t())
        gate, up = F.linear(self._norm(hidden, w.mlp_norm), w.gate_up).chunk(2, dim=-1)
        hidden.addmm_(F.silu(gate).mul_(up), w.down.t())

    def _qkv(self, index: int, w: Any, x: torch.Tensor, shared: _Shared) -> torch.Tensor:
        """Queries, keys and values, (rows, heads + 2 * kv heads, head dim), rotated where the layer rotates."""
        shape = self.shape
        qkv = F.linear(x, w.qkv, w.qkv_bias).view(len(x), -1, shape.head_dim)
        if w.q_norm is not None and w.k_norm is not None:
            q, k, v = qkv.split((shape.num_heads, shape.num_kv_heads, shape.num_kv_heads), dim=1)
            qkv = torch.cat((self._norm(q, w.q_norm), self._norm(k, w.k_norm), v), dim=1)
        if index in shape.unrotated:
            return qkv
        swapped = qkv.unflatten(-1, (2, -1)).flip(-2).flatten(-2)
        return (qkv * shared.cos).addcmul_(swapped, shared.sin)

    def _attend(self, q: torch.Tensor, gathered: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """(rows, heads, head dim) over gathered blocks -> (rows, heads * head dim)."""
        shape, num_rows = self.shape, len(q)
        seen = gathered.view(num_rows, -1, 2 * shape.num_kv_heads, shape.head_dim).transpose(1, 2)
        keys, values = seen.split(shape.num_kv_heads, dim=1)
        groups = q.reshape(num_rows, shape.num_kv_heads, -1, shape.head_dim)  # a group's heads as rows of one matmul
        return F.scaled_dot_product_attention(groups, keys, values, attn_mask=bias).reshape(num_rows, -1)

    def _norm(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, (x.shape[-1],), weight, self.shape.norm_eps)


@contextmanager
def _backend(device: torch.device) -> Iterator[None]:
    """On CUDA the kernel that takes a mask; not cuDNN, which plans anew for every shape."""
    if device.type != "cuda":
        yield
        return
    with sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]):
        yield
