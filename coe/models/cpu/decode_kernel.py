"""A decoder layer's step as compiled code that several threads share: one new token for each of a few rows.

A command is a list of phases, a phase a number of chunks. Threads take chunks from one counter, and a phase begins when
all chunks before it are done. So nobody waits for a thread, only for chunks: one that comes late, or not at all, costs
its help and nothing else. Who leads puts a command up and works on it until it is done; who follows helps, and
returns when nothing has been put up for a while. All integers are addresses or sizes; the constants below describe
blocks of them.

Sums of a row never depend on the other rows or on who computed them (tiles.py).
"""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from coe.models.cpu import row_kernels as kernels
from coe.models.cpu import tiles
from coe.models.cpu.row_kernels import (
    DIGIT,
    floats,
    longs,
    quantise_row,
    rms,
    rotate_head,
    round_even,
    shorts,
    silu,
    softmax,
    step_of,
)

__all__ = [
    "FOLLOW",
    "LEAD_ATTENTION",
    "LEAD_HEAD",
    "LEAD_LAYER",
    "LEAD_PRODUCT",
    "LEAD_PRODUCTS",
    "compiled",
]

# -- blocks of 64-bit words

FLOAT32, BFLOAT16, INT8 = 0, 1, 2  # kinds of weights

# a matrix: kind, address, scales (int8), bias or 0, outputs, inputs
KIND, WEIGHT, SCALES, BIAS, OUTPUTS, INPUTS, MATRIX_WORDS = range(7)

# a layer: four matrices, then these
QKV, OUT, GATE_UP, DOWN = (MATRIX_WORDS * i for i in range(4))
INPUT_NORM, MLP_NORM, Q_NORM, K_NORM, LAYER_WORDS = range(4 * MATRIX_WORDS, 4 * MATRIX_WORDS + 5)

# the head: a matrix, then the norm
HEAD_NORM = MATRIX_WORDS

# a step: sizes, buffers (float32 unless said otherwise), where rows' keys and values are, norm's epsilon as float64
(
    ROWS,
    HIDDEN_SIZE,
    NUM_HEADS,
    NUM_KV_HEADS,
    HEAD_DIM,
    HIDDEN,
    NORMED,  # after a norm or attention, (rows, most inputs)
    DIGITS,  # the same quantised, int16 (2 rows, most inputs)
    STEPS,  # of quantised rows
    QKV_OUT,
    GATED,
    COS,
    SIN,
    KEYS,  # addresses (layers, rows) of the first seen token in the first head
    VALUES,
    LENGTHS,
    STRIDES,  # floats between heads
    LOGITS,
    LAYER,  # its number
    ROTATES,  # whether the layer has rotary embedding
    EPS,
    STEP_WORDS,
) = range(22)

# what threads share; each counter has a cache line of its own, a phase three words: operation, things to a chunk, end
STEP, BLOCK, NUM_PHASES, TICKET, DONE, PHASES, WORDS = 0, 1, 2, 8, 16, 24, 24 + 3 * 12
_EPOCH = 32  # bits of a ticket that count chunks

# operations of phases
(NORM_QKV, PRODUCT_QKV, ROTATE, ATTEND, QUANTISE_MIXED, PRODUCT_OUT, NORM_GATE, PRODUCT_GATE, QUANTISE_GATED,
 PRODUCT_DOWN, NORM_HEAD, PRODUCT_HEAD) = range(12)  # fmt: skip

FOLLOW, LEAD_LAYER, LEAD_ATTENTION, LEAD_HEAD, LEAD_PRODUCT, LEAD_PRODUCTS = range(6)

_CHUNK_BYTES = 128 << 10  # of weights: some ten microseconds of reading
_SPINS = 2000  # looks before the processor is offered to others
_A = types.int64

_inner = njit
_yield_processor = types.ExternalFunction("sched_yield", types.int32())


# -- atomics


def _word(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, ir.IntType(64).as_pointer())


@intrinsic
def _load(_context: Any, _address: Any) -> Any:
    def build(_: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_word(builder, arguments[0]), "acquire", 8)

    return _A(_A), build


@intrinsic
def _store(_context: Any, _address: Any, _value: Any) -> Any:
    def build(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        builder.store_atomic(arguments[1], _word(builder, arguments[0]), "release", 8)
        return context.get_dummy_value()

    return types.void(_A, _A), build


@intrinsic
def _add(_context: Any, _address: Any, _value: Any) -> Any:
    """Return what was there before."""

    def build(_: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.atomic_rmw("add", _word(builder, arguments[0]), arguments[1], "acq_rel")

    return _A(_A, _A), build


@intrinsic
def _replace(_context: Any, _address: Any, _expected: Any, _value: Any) -> Any:
    """Return 1 if the expected value was there and has been replaced."""

    def build(_: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        address, expected, value = arguments
        found = builder.cmpxchg(_word(builder, address), expected, value, "acq_rel", "acquire")
        return builder.zext(builder.extract_value(found, 1), ir.IntType(64))

    return _A(_A, _A, _A), build


@intrinsic
def _pause(_context: Any) -> Any:
    """Tell the processor that this is a loop that waits."""

    def build(context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        if platform.machine() in {"x86_64", "AMD64"}:
            name = "llvm.x86.sse2.pause"
            found = builder.module.globals.get(name)
            builder.call(found or ir.Function(builder.module, ir.FunctionType(ir.VoidType(), []), name), [])
        return context.get_dummy_value()

    return types.void(), build


# -- products of a few weight rows with all rows

_WHOLE = ((2, 8), (4, 4), (4, 2), (4, 1))  # outputs and rows of a tile
_REST = ((1, 8), (1, 4), (1, 2), (1, 1))


def _dots(kind: str) -> Any:
    """All products of weight rows, a multiple of four, with x's rows: out (rows, num_outputs)."""
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
def _scores(keys, length, queries, rows, dim, out):
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


_mix_four, _mix_one = tiles.mix_tile(4, 1), tiles.mix_tile(1, 1)
_LANES = tiles.LANES


@_inner
def _row_bytes(matrix):
    return matrix[INPUTS] * (4 if matrix[KIND] == FLOAT32 else 2 if matrix[KIND] == BFLOAT16 else 1)


@_inner
def _sums(matrix, first, count, x, rows, sums):
    """sums (rows, count): float32, or int32 for int8 weights; x: float32 or int16 (rows, inputs)."""
    stride = _row_bytes(matrix)
    at, size, kind = matrix[WEIGHT] + first * stride, matrix[INPUTS], matrix[KIND]
    if kind == FLOAT32:
        _dots_float32(at, stride, count, x, 4 * size, rows, size, sums, 4 * count)
    elif kind == BFLOAT16:
        _dots_bfloat16(at, stride, count, x, 4 * size, rows, size, sums, 4 * count)
    else:
        _dots_int8(at, stride, count, x, 2 * size, rows, size, sums, 4 * count)


@_inner
def _product(step, matrix, first, count, x, num_digits):
    """(rows, count) of x @ weight.T (+ bias); int8 weights take what has been made of x in DIGITS."""
    rows = step[ROWS]
    out = np.empty(rows * count, np.float32)
    if matrix[KIND] != INT8:
        _sums(matrix, first, count, x, rows, out.ctypes.data)
    else:
        sums = np.empty(num_digits * rows * count, np.int32)
        _sums(matrix, first, count, step[DIGITS], num_digits * rows, sums.ctypes.data)
        scales, steps = floats(matrix[SCALES] + 4 * first, count), floats(step[STEPS], rows)
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


# -- phases: each does one of its chunks


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
        floats(step[STEPS], row + 1)[row] = quantise_row(out, shorts(step[DIGITS] + 2 * row * size, size))


@_inner
def _quantise_mixed(step, row):
    size = step[NUM_HEADS] * step[HEAD_DIM]
    x = floats(step[NORMED] + 4 * row * size, size)
    floats(step[STEPS], row + 1)[row] = quantise_row(x, shorts(step[DIGITS] + 2 * row * size, size))


@_inner
def _quantise_gated(step, matrix, row):
    """In two digits, the second ones of all rows after the first ones."""
    size = matrix[INPUTS]
    x = floats(step[GATED] + 4 * row * size, size)
    high = shorts(step[DIGITS] + 2 * row * size, size)
    low = shorts(step[DIGITS] + 2 * (step[ROWS] + row) * size, size)
    new = step_of(x)
    for i in range(size):
        scaled = x[i] / new
        whole = round_even(scaled)
        high[i] = np.int16(np.int32(whole))
        low[i] = np.int16(np.int32(round_even((scaled - whole) * DIGIT)))
    floats(step[STEPS], row + 1)[row] = new


@_inner
def _product_stored(step, matrix, first, count, to):
    rows, width = step[ROWS], matrix[OUTPUTS]
    found, out = _product(step, matrix, first, count, step[NORMED], 1), floats(to, rows * width)
    for r in range(rows):
        for i in range(count):
            out[r * width + first + i] = found[r * count + i]


@_inner
def _product_added(step, matrix, first, count, x, num_digits):
    """Add to hidden."""
    rows, width = step[ROWS], matrix[OUTPUTS]
    found, out = _product(step, matrix, first, count, x, num_digits), floats(step[HIDDEN], rows * width)
    for r in range(rows):
        for i in range(count):
            out[r * width + first + i] += found[r * count + i]


@_inner
def _product_gate(step, matrix, first, count):
    """SiLU(gate) * up, the gate's rows being the first half of the matrix."""
    rows, size = step[ROWS], matrix[OUTPUTS] // 2
    gate = _product(step, matrix, first, count, step[NORMED], 1)
    up = _product(step, matrix, size + first, count, step[NORMED], 1)
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
    _scores(keys, length, queries, count, dim, shares)
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
def _do(words, phase, chunk):
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
        _do_product(step, block, operation, chunk * size, size)


@_inner
def _do_product(step, block, operation, first, size):
    if operation == PRODUCT_QKV:
        matrix = block[QKV:]
        _product_stored(step, matrix, first, min(size, matrix[OUTPUTS] - first), step[QKV_OUT])
    elif operation == PRODUCT_OUT:
        matrix = block[OUT:]
        _product_added(step, matrix, first, min(size, matrix[OUTPUTS] - first), step[NORMED], 1)
    elif operation == PRODUCT_GATE:
        matrix = block[GATE_UP:]
        _product_gate(step, matrix, first, min(size, matrix[OUTPUTS] // 2 - first))
    elif operation == PRODUCT_DOWN:
        matrix = block[DOWN:]
        num_digits = 2 if matrix[KIND] == INT8 else 1
        _product_added(step, matrix, first, min(size, matrix[OUTPUTS] - first), step[GATED], num_digits)
    else:
        _product_stored(step, block, first, min(size, block[OUTPUTS] - first), step[LOGITS])


# -- sharing


@_inner
def _share(words, epoch):
    """Take chunks of a command until none is left; how long is waited for others is theirs to say."""
    at, phase, spins = words.ctypes.data, 0, 0
    while True:
        ticket = _load(at + 8 * TICKET)
        taken = ticket & ((1 << _EPOCH) - 1)
        if ticket >> _EPOCH != epoch:
            return
        while phase < words[NUM_PHASES] and taken >= words[PHASES + 3 * phase + 2]:
            phase += 1
        if phase >= words[NUM_PHASES]:
            return
        begin = words[PHASES + 3 * phase - 1] if phase else 0
        if _load(at + 8 * DONE) < begin:
            spins = _wait(spins)
        elif _replace(at + 8 * TICKET, ticket, ticket + 1):
            _do(words, phase, taken - begin)
            _add(at + 8 * DONE, 1)
            spins = 0


@_inner
def _wait(spins):
    _pause()
    if spins % _SPINS == _SPINS - 1:
        _yield_processor()
    return spins + 1


@_inner
def _plan(words, operation, count, size):
    """Add a phase of `count` things, `size` to a chunk."""
    phase = words[NUM_PHASES]
    begin = words[PHASES + 3 * phase - 1] if phase else 0
    words[PHASES + 3 * phase] = operation
    words[PHASES + 3 * phase + 1] = size
    words[PHASES + 3 * phase + 2] = begin + (count + size - 1) // size
    words[NUM_PHASES] = phase + 1


@_inner
def _plan_product(words, operation, matrix, outputs, num_threads):
    """Chunks of some 64 KB, and no fewer than four for each thread."""
    size = min(_CHUNK_BYTES // _row_bytes(matrix), outputs // (4 * num_threads))
    _plan(words, operation, outputs, max(8, size // 8 * 8))


@_inner
def _lead(words):
    """Put a planned command up and return when it is done."""
    at = words.ctypes.data
    end = words[PHASES + 3 * words[NUM_PHASES] - 1]
    epoch = (words[TICKET] >> _EPOCH) + 1
    _store(at + 8 * DONE, 0)
    _store(at + 8 * TICKET, epoch << _EPOCH)
    _share(words, epoch)
    spins = 0
    while _load(at + 8 * DONE) < end:
        spins = _wait(spins)
    return epoch


@_inner
def _plan_attention(words, step, num_threads):
    rows, num_heads, num_kv_heads = step[ROWS], step[NUM_HEADS], step[NUM_KV_HEADS]
    # all heads of a group share what they read; one by one they keep more threads busy
    heads = num_heads // num_kv_heads if rows * num_kv_heads >= 4 * num_threads else 1
    _plan(words, ROTATE, rows, 1)
    _plan(words, ATTEND, rows * num_heads, heads)


@_inner
def _plan_layer(words, step, layer, num_threads):
    rows, is_int8 = step[ROWS], layer[QKV + KIND] == INT8
    _plan(words, NORM_QKV, rows, 1)
    _plan_product(words, PRODUCT_QKV, layer[QKV:], layer[QKV + OUTPUTS], num_threads)
    _plan_attention(words, step, num_threads)
    if is_int8:
        _plan(words, QUANTISE_MIXED, rows, 1)
    _plan_product(words, PRODUCT_OUT, layer[OUT:], layer[OUT + OUTPUTS], num_threads)
    _plan(words, NORM_GATE, rows, 1)
    _plan_product(words, PRODUCT_GATE, layer[GATE_UP:], layer[GATE_UP + OUTPUTS] // 2, num_threads)
    if is_int8:
        _plan(words, QUANTISE_GATED, rows, 1)
    _plan_product(words, PRODUCT_DOWN, layer[DOWN:], layer[DOWN + OUTPUTS], num_threads)


@_inner
def _plan_products(words, layer, num_threads):
    _plan_product(words, PRODUCT_QKV, layer[QKV:], layer[QKV + OUTPUTS], num_threads)
    _plan_product(words, PRODUCT_OUT, layer[OUT:], layer[OUT + OUTPUTS], num_threads)
    _plan_product(words, PRODUCT_GATE, layer[GATE_UP:], layer[GATE_UP + OUTPUTS] // 2, num_threads)
    _plan_product(words, PRODUCT_DOWN, layer[DOWN:], layer[DOWN + OUTPUTS], num_threads)


@_inner
def _follow(words, last, spins_most):
    spins = 0
    while spins < spins_most:
        epoch = _load(words.ctypes.data + 8 * TICKET) >> _EPOCH
        if epoch == last:
            _pause()
            spins += 1
        else:
            _share(words, epoch)
            last, spins = epoch, 0
    return last


@cache
def compiled() -> Any:
    """Compile, or read what has been compiled; some seconds the first time on a machine.

    The function takes (FOLLOW, words, last epoch, spins, 0) and returns the epoch it has seen last, or
    (what to lead, words, step, layer or head, number of threads): a layer, its attention alone, a head with its norm or
    without (LEAD_PRODUCT), or nothing but a layer's products, to time them. One function, so that it is compiled once.
    """
    # numba knows a cached function by its own file; what is in its closure counts, too
    files = [Path(str(module.__file__)) for module in (kernels, tiles)]
    sources = hashlib.blake2b(b"".join(file.read_bytes() for file in files), digest_size=8).hexdigest()

    @njit(_A(_A, _A, _A, _A, _A), nogil=True, cache=True, error_model="numpy")
    def run(role, at, first, second, third):
        _ = sources
        words = longs(at, WORDS)
        if role == FOLLOW:
            return _follow(words, first, second)
        words[STEP], words[BLOCK], words[NUM_PHASES] = first, second, 0
        step, block = longs(first, STEP_WORDS), longs(second, LAYER_WORDS)
        if role == LEAD_LAYER:
            _plan_layer(words, step, block, third)
        elif role == LEAD_ATTENTION:
            _plan_attention(words, step, third)
        elif role == LEAD_PRODUCTS:
            _plan_products(words, block, third)
        else:
            if role == LEAD_HEAD:
                _plan(words, NORM_HEAD, step[ROWS], 1)
            _plan_product(words, PRODUCT_HEAD, block, block[OUTPUTS], third)
        return _lead(words)

    return run
