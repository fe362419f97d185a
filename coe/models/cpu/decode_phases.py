"""The phases of a decode step; each function here does one chunk of one phase."""

from __future__ import annotations

import numpy as np
from numba import njit

from coe.models.cpu import tiles
from coe.models.cpu.decode_matmul import blocked_matmul, dot_scores
from coe.models.cpu.decode_words import (
    ATTEND,
    BLOCK,
    COS,
    DIGITS,
    DOWN,
    EPS,
    GATE_UP,
    GATED,
    HEAD_DIM,
    HEAD_NORM,
    HIDDEN,
    HIDDEN_SIZE,
    INPUT_NORM,
    INPUTS,
    INT8,
    K_NORM,
    KEYS,
    KIND,
    LAYER,
    LAYER_WORDS,
    LENGTHS,
    LOGITS,
    MATMUL_DOWN,
    MATMUL_GATE,
    MATMUL_OUT,
    MATMUL_QKV,
    MLP_NORM,
    NORM_GATE,
    NORM_HEAD,
    NORM_QKV,
    NORMED,
    NUM_HEADS,
    NUM_KV_HEADS,
    OUT,
    OUTPUTS,
    PHASES,
    Q_NORM,
    QKV,
    QKV_OUT,
    QUANTISE_GATED,
    QUANTISE_MIXED,
    ROTATE,
    ROTATES,
    ROW_SCALES,
    ROWS,
    SIN,
    STEP,
    STEP_WORDS,
    STRIDES,
    VALUES,
)
from coe.models.cpu.row_kernels import (
    DIGIT,
    floats,
    longs,
    quantise_row,
    rms,
    rotate_head,
    round_even,
    row_scale_of,
    shorts,
    silu,
    softmax,
)

__all__ = ["run_chunk"]

_inner = njit
_mix_four, _mix_one = tiles.mix_tile(4, 1), tiles.mix_tile(1, 1)
_LANES = tiles.LANES


@_inner
def _norm(step, matrix, norm, row):
    """RMSNorm of a row of hidden, left for `matrix`."""
    size = step[HIDDEN_SIZE]
    x, weight = floats(step[HIDDEN] + 4 * row * size, size), floats(norm, size)
    out = floats(step[NORMED] + 4 * row * size, size)
    factor = rms(x, longs(step[EPS], 1).view(np.float64)[0])
    for i in range(size):
        out[i] = x[i] * factor * weight[i]
    if matrix[KIND] == INT8:
        floats(step[ROW_SCALES], row + 1)[row] = quantise_row(out, shorts(step[DIGITS] + 2 * row * size, size))


@_inner
def _quantise_mixed(step, row):
    size = step[NUM_HEADS] * step[HEAD_DIM]
    x = floats(step[NORMED] + 4 * row * size, size)
    floats(step[ROW_SCALES], row + 1)[row] = quantise_row(x, shorts(step[DIGITS] + 2 * row * size, size))


@_inner
def _quantise_gated(step, matrix, row):
    """In two digits, the second ones of all rows after the first ones."""
    size = matrix[INPUTS]
    x = floats(step[GATED] + 4 * row * size, size)
    high = shorts(step[DIGITS] + 2 * row * size, size)
    low = shorts(step[DIGITS] + 2 * (step[ROWS] + row) * size, size)
    new = row_scale_of(x)
    for i in range(size):
        scaled = x[i] / new
        whole = round_even(scaled)
        high[i] = np.int16(np.int32(whole))
        low[i] = np.int16(np.int32(round_even((scaled - whole) * DIGIT)))
    floats(step[ROW_SCALES], row + 1)[row] = new


@_inner
def _matmul_stored(step, matrix, first, count, to):
    rows, width = step[ROWS], matrix[OUTPUTS]
    found, out = blocked_matmul(step, matrix, first, count, step[NORMED], 1), floats(to, rows * width)
    for r in range(rows):
        for i in range(count):
            out[r * width + first + i] = found[r * count + i]


@_inner
def _matmul_added(step, matrix, first, count, x, num_digits):
    """Add to hidden."""
    rows, width = step[ROWS], matrix[OUTPUTS]
    found, out = blocked_matmul(step, matrix, first, count, x, num_digits), floats(step[HIDDEN], rows * width)
    for r in range(rows):
        for i in range(count):
            out[r * width + first + i] += found[r * count + i]


@_inner
def _matmul_gate(step, matrix, first, count):
    """SiLU(gate) * up, the gate's rows being the first half of the matrix."""
    rows, size = step[ROWS], matrix[OUTPUTS] // 2
    gate = blocked_matmul(step, matrix, first, count, step[NORMED], 1)
    up = blocked_matmul(step, matrix, size + first, count, step[NORMED], 1)
    out = floats(step[GATED], rows * size)
    for r in range(rows):
        for i in range(count):
            out[r * size + first + i] = silu(gate[r * count + i]) * up[r * count + i]


@_inner
def _rotate(step, layer, row):
    """Norms of q's and k's heads, rotary embedding; then the new key and value go where they belong."""
    dim, num_heads, num_kv_heads = step[HEAD_DIM], step[NUM_HEADS], step[NUM_KV_HEADS]
    width = (num_heads + 2 * num_kv_heads) * dim
    qkv = floats(step[QKV_OUT] + 4 * row * width, width)
    eps = longs(step[EPS], 1).view(np.float64)[0]
    for h in range(num_heads + num_kv_heads):
        head = qkv[h * dim : (h + 1) * dim]
        if layer[Q_NORM] != 0:
            weight = floats(layer[Q_NORM] if h < num_heads else layer[K_NORM], dim)
            factor = rms(head, eps)
            for i in range(dim):
                head[i] = head[i] * factor * weight[i]
        if step[ROTATES] != 0:
            rotate_head(head, floats(step[COS] + 4 * row * dim, dim), floats(step[SIN] + 4 * row * dim, dim))
    at, length = step[LAYER] * step[ROWS] + row, longs(step[LENGTHS], row + 1)[row]
    stride = longs(step[STRIDES], row + 1)[row]
    for h in range(num_kv_heads):
        there = 4 * (h * stride + (length - 1) * dim)
        key = floats(longs(step[KEYS], at + 1)[at] + there, dim)
        value = floats(longs(step[VALUES], at + 1)[at] + there, dim)
        for i in range(dim):
            key[i] = qkv[(num_heads + h) * dim + i]
            value[i] = qkv[(num_heads + num_kv_heads + h) * dim + i]


@_inner
def _attend(step, row, first, count):
    """Query heads `first` to `first + count`, of one KV head, over all that their row sees."""
    dim, num_heads, num_kv_heads = step[HEAD_DIM], step[NUM_HEADS], step[NUM_KV_HEADS]
    width, group = (num_heads + 2 * num_kv_heads) * dim, num_heads // num_kv_heads
    at, length = step[LAYER] * step[ROWS] + row, longs(step[LENGTHS], row + 1)[row]
    apart = 4 * (first // group) * longs(step[STRIDES], row + 1)[row]
    keys, values = longs(step[KEYS], at + 1)[at] + apart, longs(step[VALUES], at + 1)[at] + apart
    scores = np.empty(count * length, np.float32)
    shares, scale = scores.ctypes.data, np.float32(1 / np.sqrt(dim))
    queries = step[QKV_OUT] + 4 * (row * width + first * dim)
    dot_scores(keys, length, queries, count, dim, shares)
    for g in range(count):
        own = scores[g * length : (g + 1) * length]
        for t in range(length):
            own[t] *= scale
        total = softmax(own)
        to = step[NORMED] + 4 * (row * num_heads + first + g) * dim
        share, i = shares + 4 * g * length, 0
        while i + 4 * _LANES <= dim:
            _mix_four(values + 4 * i, 4 * dim, share, 4 * length, length, to + 4 * i, 4 * dim)
            i += 4 * _LANES
        while i < dim:
            _mix_one(values + 4 * i, 4 * dim, share, 4 * length, length, to + 4 * i, 4 * dim)
            i += _LANES
        out = floats(to, dim)
        for i in range(dim):
            out[i] /= total


@_inner
def run_chunk(words, phase, chunk):
    """One chunk of a phase."""
    step, block = longs(words[STEP], STEP_WORDS), longs(words[BLOCK], LAYER_WORDS)
    operation, size = words[PHASES + 3 * phase], words[PHASES + 3 * phase + 1]
    if operation == NORM_QKV:
        _norm(step, block[QKV:], block[INPUT_NORM], chunk)
    elif operation == ROTATE:
        _rotate(step, block, chunk)
    elif operation == ATTEND:
        units = step[NUM_HEADS] // size
        _attend(step, chunk // units, chunk % units * size, size)
    elif operation == QUANTISE_MIXED:
        _quantise_mixed(step, chunk)
    elif operation == NORM_GATE:
        _norm(step, block[GATE_UP:], block[MLP_NORM], chunk)
    elif operation == QUANTISE_GATED:
        _quantise_gated(step, block[DOWN:], chunk)
    elif operation == NORM_HEAD:
        _norm(step, block, block[HEAD_NORM], chunk)
    else:
        _do_matmul(step, block, operation, chunk * size, size)


@_inner
def _do_matmul(step, block, operation, first, size):
    if operation == MATMUL_QKV:
        matrix = block[QKV:]
        _matmul_stored(step, matrix, first, min(size, matrix[OUTPUTS] - first), step[QKV_OUT])
    elif operation == MATMUL_OUT:
        matrix = block[OUT:]
        _matmul_added(step, matrix, first, min(size, matrix[OUTPUTS] - first), step[NORMED], 1)
    elif operation == MATMUL_GATE:
        matrix = block[GATE_UP:]
        _matmul_gate(step, matrix, first, min(size, matrix[OUTPUTS] // 2 - first))
    elif operation == MATMUL_DOWN:
        matrix = block[DOWN:]
        num_digits = 2 if matrix[KIND] == INT8 else 1
        _matmul_added(step, matrix, first, min(size, matrix[OUTPUTS] - first), step[GATED], num_digits)
    else:
        _matmul_stored(step, block, first, min(size, block[OUTPUTS] - first), step[LOGITS])
