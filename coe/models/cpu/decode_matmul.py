"""Products of a decode step: a few weight rows with all rows of activations, in any of the matrix formats.

Sums of a row never depend on the other rows or on the thread that computes them (tiles.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from coe.models.cpu import tiles
from coe.models.cpu.decode_words import (
    BFLOAT16,
    BIAS,
    DIGITS,
    FLOAT32,
    INPUTS,
    INT8,
    KIND,
    ROW_SCALES,
    ROWS,
    SCALES,
    WEIGHT,
)
from coe.models.cpu.row_kernels import DIGIT, floats

__all__ = ["blocked_matmul", "dot_scores", "row_bytes"]

_inner = njit

_WHOLE = ((2, 8), (4, 4), (4, 2), (4, 1))  # outputs and rows of a tile
_REST = ((1, 8), (1, 4), (1, 2), (1, 1))


def _dots(kind: str) -> Any:
    """All matmuls of weight rows, a multiple of four, with x's rows: out (rows, num_outputs)."""
    two8, four4, four2, four1 = (tiles.dot_tile(kind, *tile) for tile in _WHOLE)

    @_inner
    def dots(weight, w_stride, num_outputs, x, x_stride, rows, size, out, out_stride):
        r = 0
        while r < rows:
            left, x_at, out_at = rows - r, x + r * x_stride, out + r * out_stride
            if left >= 8:
                for n in range(0, num_outputs, 2):
                    two8(weight + n * w_stride, w_stride, x_at, x_stride, size, out_at + 4 * n, out_stride)
                r += 8
            elif left >= 4:
                for n in range(0, num_outputs, 4):
                    four4(weight + n * w_stride, w_stride, x_at, x_stride, size, out_at + 4 * n, out_stride)
                r += 4
            elif left >= 2:
                for n in range(0, num_outputs, 4):
                    four2(weight + n * w_stride, w_stride, x_at, x_stride, size, out_at + 4 * n, out_stride)
                r += 2
            else:
                for n in range(0, num_outputs, 4):
                    four1(weight + n * w_stride, w_stride, x_at, x_stride, size, out_at + 4 * n, out_stride)
                r += 1

    return dots


_dots_float32, _dots_bfloat16, _dots_int8 = _dots("float32"), _dots("bfloat16"), _dots("int8")
_one8, _one4, _one2, _one1 = (tiles.dot_tile("float32", *tile) for tile in _REST)


@_inner
def dot_scores(keys, length, queries, rows, dim, out):
    """out (rows, length): each query with each key."""
    whole, stride = length // 4 * 4, 4 * dim
    if whole:
        _dots_float32(keys, stride, whole, queries, stride, rows, dim, out, 4 * length)
    for t in range(whole, length):
        r, key = 0, keys + t * stride
        while r < rows:
            left, x, to = rows - r, queries + r * stride, out + 4 * (r * length + t)
            if left >= 8:
                _one8(key, stride, x, stride, dim, to, 4 * length)
                r += 8
            elif left >= 4:
                _one4(key, stride, x, stride, dim, to, 4 * length)
                r += 4
            elif left >= 2:
                _one2(key, stride, x, stride, dim, to, 4 * length)
                r += 2
            else:
                _one1(key, stride, x, stride, dim, to, 4 * length)
                r += 1


@_inner
def row_bytes(matrix):
    return matrix[INPUTS] * (4 if matrix[KIND] == FLOAT32 else 2 if matrix[KIND] == BFLOAT16 else 1)


@_inner
def _sums(matrix, first, count, x, rows, sums):
    """sums (rows, count): float32, or int32 for int8 weights; x: float32 or int16 (rows, inputs)."""
    stride = row_bytes(matrix)
    at, size, kind = matrix[WEIGHT] + first * stride, matrix[INPUTS], matrix[KIND]
    if kind == FLOAT32:
        _dots_float32(at, stride, count, x, 4 * size, rows, size, sums, 4 * count)
    elif kind == BFLOAT16:
        _dots_bfloat16(at, stride, count, x, 4 * size, rows, size, sums, 4 * count)
    else:
        _dots_int8(at, stride, count, x, 2 * size, rows, size, sums, 4 * count)


@_inner
def blocked_matmul(step, matrix, first, count, x, num_digits):
    """(rows, count) of x @ weight.T (+ bias); int8 weights take what has been made of x in DIGITS."""
    rows = step[ROWS]
    out = np.empty(rows * count, np.float32)
    if matrix[KIND] != INT8:
        _sums(matrix, first, count, x, rows, out.ctypes.data)
    else:
        sums = np.empty(num_digits * rows * count, np.int32)
        _sums(matrix, first, count, step[DIGITS], num_digits * rows, sums.ctypes.data)
        scales, steps = floats(matrix[SCALES] + 4 * first, count), floats(step[ROW_SCALES], rows)
        for r in range(rows):
            by = steps[r]
            if num_digits == 1:
                for i in range(count):
                    out[r * count + i] = np.float32(sums[r * count + i]) * scales[i] * by
            else:
                for i in range(count):
                    high, low = np.float32(sums[r * count + i]), np.float32(sums[(rows + r) * count + i])
                    out[r * count + i] = (high + low * (np.float32(1) / DIGIT)) * scales[i] * by
    if matrix[BIAS] != 0:
        bias = floats(matrix[BIAS] + 4 * first, count)
        for r in range(rows):
            for i in range(count):
                out[r * count + i] += bias[i]
    return out
