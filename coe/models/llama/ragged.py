"""A ragged forward pass over a Llama's layers: any number of new tokens for each of several sequences.

Owns the batch (which tokens belong to which sequence), the attention of each sequence over its own KV and the order of
a layer. The arithmetic outside attention is a `LayerMath`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self

import torch
import torch.nn.functional as F

from coe.models.cuda.paged_kv import PagedKv, PagedWindow
from coe.models.kv import SequenceKv, Window
from coe.models.llama.binding import EmbedWeights, HeadWeights, LayerWeights
from coe.models.llama.rotary import CosSin, RotaryTable
from coe.models.llama.shape import LlamaShape
from coe.models.matmul import Weight, embedded
from coe.models.model import Row

__all__ = ["LayerMath", "RaggedBatch", "RaggedPass", "Span"]

SHORT = 64  # keys; more than any vector register has lanes


class LayerMath(Protocol):
    """What a ragged pass computes outside attention, in one arithmetic. All tensors are (tokens, …).

    `attention_dtype` is what queries, keys and values are rounded to for the attention of more than one token; None
    for the dtype they have.
    """

    attention_dtype: torch.dtype | None

    def qkv(self, hidden: torch.Tensor, w: LayerWeights) -> torch.Tensor:
        """Return queries, keys and values of the normalised hidden state, contiguous."""
        ...

    def rotate_(self, qkv: torch.Tensor, w: LayerWeights, table: CosSin | None) -> None:
        """Normalise q's and k's heads where the model does and rotate them, in place; qkv (tokens, heads, dim)."""
        ...

    def rest(self, hidden: torch.Tensor, mixed: torch.Tensor, w: LayerWeights) -> torch.Tensor:
        """Return the layer's output: attention's projection, the MLP and both residuals."""
        ...

    def logits(self, hidden: torch.Tensor, norm: torch.Tensor, lm_head: Weight) -> torch.Tensor:
        """Return the LM head's matmul with the normalised hidden state."""
        ...


class Span(NamedTuple):
    """One sequence's slice of the batch."""

    start: int
    end: int
    kv: SequenceKv | PagedKv
    window: Window | PagedWindow
    mask: torch.Tensor | None  # (new, length)
    num_logits: int

    @property
    def num_tokens(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class RaggedBatch:
    """The new tokens of a step, one after another."""

    token_ids: torch.Tensor  # (tokens,)
    table: CosSin
    spans: tuple[Span, ...]

    @classmethod
    def of(cls, rows: Sequence[Row], shape: LlamaShape, rotary: RotaryTable, device: torch.device) -> Self:
        """Return the batch of these rows, with a window of each sequence's KV."""
        spans, start = [], 0
        positions: list[int] = []
        for row in rows:
            assert isinstance(row.kv, SequenceKv | PagedKv)
            past, new = row.kv.length, len(row.token_ids)
            mask = _chunk_mask(past, new, shape.window, device)
            spans.append(Span(start, start + new, row.kv, row.kv.window(new, shape.window), mask, row.num_logits))
            positions.extend(range(past, past + new))
            start += new
        at = torch.tensor(positions, device=device)
        token_ids = torch.tensor([token for row in rows for token in row.token_ids], device=device)
        return cls(token_ids, rotary.at(at, max(positions) + 1), tuple(spans))

    @property
    def logit_rows(self) -> torch.Tensor:
        """The tokens that need logits, (sum of num_logits,)."""
        rows = [at for span in self.spans for at in range(span.end - span.num_logits, span.end)]
        return torch.tensor(rows, dtype=torch.long, device=self.token_ids.device)


class RaggedPass:
    """One forward pass over a batch; see `model.ForwardPass`."""

    def __init__(self, batch: RaggedBatch, shape: LlamaShape, math: LayerMath) -> None:
        self._batch, self._shape, self._math = batch, shape, math
        self._embedding: Weight | None = None
        self._hidden = torch.empty(0)  # (tokens, hidden)
        self._logits: torch.Tensor | None = None

    def run_unit(self, index: int, weights: Any) -> None:
        if isinstance(weights, LayerWeights):
            self._hidden = self._layer(index - 1, weights)
        elif isinstance(weights, EmbedWeights):
            self.attach(weights)
            rows = embedded(self._batch.token_ids, weights.weight, self._shape.dtype)  # where the weight is
            self._hidden = rows.to(self._batch.token_ids.device)
        else:
            assert isinstance(weights, HeadWeights)
            lm_head = self._embedding if weights.lm_head is None else weights.lm_head
            assert lm_head is not None
            self._logits = self._math.logits(self._hidden[self._batch.logit_rows], weights.norm, lm_head)

    def attach(self, first: EmbedWeights) -> None:
        self._embedding = first.weight

    def logits(self) -> torch.Tensor:
        assert self._logits is not None
        for span in self._batch.spans:
            span.kv.advance(span.num_tokens)
        return self._logits.float()

    def _layer(self, layer: int, w: LayerWeights) -> torch.Tensor:
        mixed = self._attention(layer, w, self._math.qkv(self._hidden, w))
        return self._math.rest(self._hidden, mixed, w)

    def _attention(self, layer: int, w: LayerWeights, qkv: torch.Tensor) -> torch.Tensor:
        """Return (tokens, heads * head dim); qkv, (tokens, outputs), is changed in place."""
        shape = self._shape
        out = torch.empty(len(qkv), shape.num_heads * shape.head_dim, dtype=qkv.dtype, device=qkv.device)
        heads = qkv.view(len(qkv), -1, shape.head_dim)
        self._math.rotate_(heads, w, None if layer in shape.unrotated else self._batch.table)
        for span in self._batch.spans:
            keys, values = _put(heads[span.start : span.end], shape.num_heads, span, layer)
            queries = heads[span.start : span.end, : shape.num_heads]
            attended = _attend(queries, keys, values, span.mask, self._math.attention_dtype)
            out[span.start : span.end] = attended.reshape(span.num_tokens, -1)
        return out


def _chunk_mask(past: int, new: int, window: int | None, device: torch.device) -> torch.Tensor | None:
    """Return the causal mask, (new, past + new), of a chunk that follows `past` tokens; None where none is needed."""
    slides = window is not None and past + new > window
    if new == 1 or (past == 0 and not slides):
        return None  # one token sees all that its window shows it
    mask = torch.ones(new, past + new, dtype=torch.bool, device=device).tril(past)
    return mask.triu(past - window + 1) if slides and window is not None else mask


def _put(qkv: torch.Tensor, num_heads: int, span: Span, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Store one sequence's new keys and values and return all that it sees, (kv heads, length, dim) each."""
    num_kv_heads = (qkv.shape[1] - num_heads) // 2
    k, v = qkv[:, num_heads:].split(num_kv_heads, dim=1)
    return span.window.put(layer, k.transpose(0, 1), v.transpose(0, 1))


def _attend(
    q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None, dtype: torch.dtype | None
) -> torch.Tensor:
    """Attention of one sequence: q (new, heads, dim), keys and values (kv heads, length, dim) -> like q."""
    new, num_heads, head_dim = q.shape
    num_kv_heads = keys.shape[0]
    if new == 1:  # one query per head: the heads of a group are the rows of one matmul
        grouped = q.view(1, num_kv_heads, num_heads // num_kv_heads, head_dim)
        out = F.scaled_dot_product_attention(grouped, keys[None], values[None]).view(1, num_heads, head_dim)
    else:
        groups = num_heads // num_kv_heads
        if dtype is not None:
            q, keys, values = q.to(dtype), keys.to(dtype), values.to(dtype)
        out = F.scaled_dot_product_attention(
            q.transpose(0, 1)[None],
            keys.repeat_interleave(groups, dim=0)[None],
            values.repeat_interleave(groups, dim=0)[None],
            attn_mask=mask,
            is_causal=mask is None,
        )[0].transpose(0, 1)
    return out if keys.shape[1] >= SHORT or keys.is_cuda else _with_nan_of(out, q, keys)


def _with_nan_of(out: torch.Tensor, *tensors: torch.Tensor) -> torch.Tensor:
    """Return NaN if one of the tensors has a NaN or an infinity, else `out`.

    Over fewer keys than a vector register has lanes, torch's fused attention on a CPU takes NaN scores for masked ones
    and answers with finite numbers.
    """
    sums = torch.stack([tensor.sum(dtype=torch.float32) for tensor in tensors])
    return out + (0 * sums.sum()).to(out.dtype)
