"""A decode step on a CPU as compiled layers: one new token for each of a few sequences of one expert.

Fills in the words (`decode_words.py`) by which the compiled code finds weights, keys and values. Activations, keys and
values are float32, weights float32, bfloat16 (widened exactly) or int8. Needs numba, the extra `cpu`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from coe.models.kv import Place
from coe.models.matmul import Int8, Weight

__all__ = ["Block", "CompiledLayers", "CompiledStep", "Heads"]

_Words = np.ndarray[Any, np.dtype[np.int64]]


_MAX_LANES = 16  # of any processor's registers


class Block(NamedTuple):
    """A layer or the head as the compiled code reads it; the caller keeps the weights alive that it points at."""

    words: _Words
    at: int


class Heads(NamedTuple):
    """Attention's heads: of queries, of keys and values, and their dimension."""

    num_heads: int
    num_kv_heads: int
    dim: int


@dataclass(frozen=True, slots=True)
class CompiledStep:
    """One step under way; `held` keeps what the words point at."""

    words: _Words
    held: tuple[object, ...]


class CompiledLayers:
    """Runs the layers and heads of one shape. Not thread-safe: all its steps share their scratch memory."""

    @staticmethod
    def fits(dim: int, sizes: tuple[int, int, int]) -> bool:
        """Return whether the head dimension and the inputs of qkv, out and down are multiples of the widest
        register."""
        return all(size % (2 * _MAX_LANES) == 0 for size in sizes) and dim % _MAX_LANES == 0

    def __init__(self, hidden_size: int, intermediate_size: int, heads: Heads, eps: float) -> None:
        from coe.models.cpu import decode_words, tiles
        from coe.models.cpu.worker_threads import worker_threads

        self._k: Any = decode_words
        self._threads, self._lanes = worker_threads(), int(tiles.LANES)
        self._hidden_size, self._heads, self._eps = hidden_size, heads, np.array([eps], np.float64)
        self._widest = max(hidden_size, intermediate_size, heads.num_heads * heads.dim)  # inputs of a matmul
        self._scratch = torch.empty(0)

    # -- weights

    def layer(
        self,
        matrices: tuple[Weight, Weight, Weight, Weight],
        bias: torch.Tensor | None,
        norms: tuple[torch.Tensor, torch.Tensor],
        head_norms: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> Block:
        """Return the block of a layer; the matrices are qkv, out, gate and up, down."""
        k = self._k
        assert all(map(self.takes, matrices))
        words = np.zeros(k.LAYER_WORDS, np.int64)
        for at, matrix in zip((k.QKV, k.OUT, k.GATE_UP, k.DOWN), matrices, strict=True):
            words[at : at + k.MATRIX_WORDS] = self._matrix(matrix, bias if at == k.QKV else None)
        words[k.INPUT_NORM], words[k.MLP_NORM] = (norm.data_ptr() for norm in norms)
        if head_norms is not None:
            words[k.Q_NORM], words[k.K_NORM] = (norm.data_ptr() for norm in head_norms)
        return Block(words, words.ctypes.data)

    def head(self, matrix: Weight, norm: torch.Tensor) -> Block | None:
        """Return the block of the head, None for a vocabulary that is no multiple of eight."""
        k = self._k
        if not self.takes(matrix):
            return None
        words = np.zeros(k.LAYER_WORDS, np.int64)
        words[: k.MATRIX_WORDS] = self._matrix(matrix, None)
        words[k.HEAD_NORM] = norm.data_ptr()
        return Block(words, words.ctypes.data)

    def takes(self, matrix: Weight) -> bool:
        """Return whether tiles fit the matrix's sizes and dtype, so that none reads or writes beyond its end."""
        num_outputs, num_inputs = (matrix.values if isinstance(matrix, Int8) else matrix).shape
        step = self._lanes * (2 if isinstance(matrix, Int8) else 1)
        is_known = isinstance(matrix, Int8) or matrix.dtype in (torch.float32, torch.bfloat16)
        return is_known and num_outputs % 8 == 0 and num_inputs % step == 0

    def _matrix(self, matrix: Weight, bias: torch.Tensor | None) -> tuple[int, ...]:
        k = self._k
        added = 0 if bias is None else bias.data_ptr()
        if isinstance(matrix, Int8):
            return (k.INT8, matrix.values.data_ptr(), matrix.scales.data_ptr(), added, *matrix.values.shape)
        kind = k.FLOAT32 if matrix.dtype is torch.float32 else k.BFLOAT16
        return (kind, matrix.data_ptr(), 0, added, *matrix.shape)

    # -- steps

    def begin(self, places: Sequence[Place], num_layers: int, cos: torch.Tensor, sin: torch.Tensor) -> CompiledStep:
        """Begin a step of one new token behind each of these places; cos and sin are (rows, 1, head dim)."""
        k, heads, num_rows = self._k, self._heads, len(places)
        layers = np.arange(num_layers, dtype=np.int64)[:, None]
        apart = layers * np.array([place.layer_bytes for place in places], np.int64)
        keys = apart + np.array([place.keys for place in places], np.int64)
        values = apart + np.array([place.values for place in places], np.int64)
        lengths = np.array([place.length for place in places], np.int64)
        strides = np.array([place.head_floats for place in places], np.int64)
        cos, sin = cos.contiguous(), sin.contiguous()
        words = np.zeros(k.STEP_WORDS, np.int64)
        words[k.ROWS], words[k.HIDDEN_SIZE], words[k.EPS] = num_rows, self._hidden_size, self._eps.ctypes.data
        words[k.NUM_HEADS], words[k.NUM_KV_HEADS], words[k.HEAD_DIM] = heads
        words[k.COS], words[k.SIN] = cos.data_ptr(), sin.data_ptr()
        places_at = (keys, values, lengths, strides)
        words[k.KEYS], words[k.VALUES], words[k.LENGTHS], words[k.STRIDES] = (a.ctypes.data for a in places_at)
        return CompiledStep(words, (cos, sin, places_at))

    def run(self, step: CompiledStep, layer: Block, hidden: torch.Tensor, index: int, *, rotates: bool) -> None:
        """Run one layer in place on hidden, (rows, hidden), float32 and contiguous."""
        step.words[self._k.LAYER], step.words[self._k.ROTATES] = index, rotates
        self._point(step, hidden)
        self._lead(self._k.LEAD_LAYER, step, layer)

    def logits(self, step: CompiledStep, head: Block, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits, (rows, vocab): the final norm and the head."""
        out = torch.empty(len(hidden), int(head.words[self._k.OUTPUTS]))
        self._point(step, hidden)
        step.words[self._k.LOGITS] = out.data_ptr()
        self._lead(self._k.LEAD_HEAD, step, head)
        return out

    def matmul(self, x: torch.Tensor, matrix: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """Return x @ matrix.T (+ bias), (rows, outputs), for float32 rows and a float32 or bfloat16 matrix."""
        assert self.takes(matrix)
        k, x = self._k, x.contiguous()
        block, step = np.zeros(k.LAYER_WORDS, np.int64), np.zeros(k.STEP_WORDS, np.int64)
        block[: k.MATRIX_WORDS] = self._matrix(matrix, bias)
        out = torch.empty(len(x), len(matrix))
        step[k.ROWS], step[k.NORMED], step[k.LOGITS] = len(x), x.data_ptr(), out.data_ptr()
        self._lead(k.LEAD_MATMUL, CompiledStep(step, ()), Block(block, block.ctypes.data))
        return out

    def matmuls(self, layers: Sequence[Block], head: Block | None) -> None:
        """Run a decode step's matmuls for one row and nothing else, to time them."""
        k, words = self._k, np.zeros(self._k.STEP_WORDS, np.int64)
        hidden, step = torch.zeros(1, self._hidden_size), CompiledStep(words, ())
        words[k.ROWS], words[k.HIDDEN_SIZE] = 1, self._hidden_size
        self._point(step, hidden)
        self._scratch.zero_()
        for layer in layers:
            self._lead(k.LEAD_MATMULS, step, layer)
        if head is not None:
            logits = torch.empty(int(head.words[k.OUTPUTS]))
            words[k.LOGITS] = logits.data_ptr()
            self._lead(k.LEAD_MATMUL, step, head)

    def _lead(self, role: int, step: CompiledStep, block: Block) -> None:
        self._threads.lead(role, step.words.ctypes.data, block.at, torch.get_num_threads())

    def _point(self, step: CompiledStep, hidden: torch.Tensor) -> None:
        """Point the step's words at the scratch memory, which may have grown or been used since the step began."""
        k, words = self._k, step.words
        words[k.HIDDEN] = hidden.data_ptr()
        sizes = self._sizes(len(hidden))
        total = sum(sizes.values())
        if self._scratch.numel() < total:
            self._scratch = torch.empty(total)
        at = self._scratch.data_ptr()
        for word, size in sizes.items():
            words[word] = at
            at += 4 * size

    def _sizes(self, num_rows: int) -> dict[int, int]:
        """Return how many float32 numbers each buffer takes, in whole cache lines."""
        k, heads = self._k, self._heads
        widths = {
            k.NORMED: self._widest,
            k.DIGITS: self._widest,  # two int16 in the place of a float32
            k.GATED: self._widest,
            k.QKV_OUT: (heads.num_heads + 2 * heads.num_kv_heads) * heads.dim,
            k.ROW_SCALES: 1,
        }
        return {word: math.ceil(num_rows * width / 16) * 16 for word, width in widths.items()}
