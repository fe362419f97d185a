"""Fused loops over rows of float32 activations, compiled by numba: the work between a CPU step's matmuls.

Between two matmuls a decode step does a dozen small things to a few hundred numbers. A torch operator for each costs
2 to 30 µs; one fused loop costs about one. Every row is computed by itself, in an order that does not depend on the
others. Kernels take addresses of contiguous arrays and sizes; they check nothing and release Python's lock.
`row_ops.py` calls them with tensors. numba compiles them once per processor and keeps the code beside the bytecode.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic

__all__ = [
    "add_norm_quantise",
    "add_two_digits",
    "dequantise",
    "gate_quantise",
    "norm_quantise",
    "quantise",
    "rms_norm",
    "rotate",
]

_A = types.int64  # an address, 0 for an array that is not there; or a size
_SUMS = {"reassoc", "contract", "nsz"}  # sums may be taken in any order, or they could not be vectorised
_ROUNDER = np.float32(12582912.0)  # 1.5 * 2**23: adding it rounds to an integer, halves to even
DIGIT = np.float32(254.0)  # the second digit counts 254ths of the first one's unit
_SMALLEST = np.float32(1e-30)


@intrinsic
def _pointer(_context: Any, _address: Any, kind: Any) -> Any:
    """Read an integer as the address of numbers of a kind."""
    pointer = types.CPointer(kind.instance_type if hasattr(kind, "instance_type") else kind.dtype)

    def build(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(pointer))

    return pointer(types.int64, kind), build


@intrinsic
def _as_float(_context: Any, _bits: Any) -> Any:
    """Read 32 bits as a float."""

    def build(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.float32))

    return types.float32(types.int32), build


_inner = njit
_summing = njit(fastmath=_SUMS)


def _kernel(*arguments: Any) -> Any:
    signature = types.void(*arguments)
    return njit(signature, nogil=True, cache=True, error_model="numpy")


@_inner
def floats(address, size):
    return carray(_pointer(address, types.float32), (size,))


@_inner
def ints(address, size):
    return carray(_pointer(address, types.int32), (size,))


@_inner
def bytes_at(address, size):
    return carray(_pointer(address, types.int8), (size,))


@_inner
def shorts(address, size):
    return carray(_pointer(address, types.int16), (size,))


@_inner
def longs(address, size):
    return carray(_pointer(address, types.int64), (size,))


@_inner
def round_even(x):
    return (x + _ROUNDER) - _ROUNDER


@_summing
def rms(x, eps):
    """What RMSNorm multiplies a row with (Zhang & Sennrich, arXiv 1910.07467)."""
    total = np.float32(0)
    for i in range(len(x)):
        total += x[i] * x[i]
    return np.float32(1) / np.sqrt(total / np.float32(len(x)) + np.float32(eps))


@_inner
def _largest(x):
    """The largest absolute value, compared by its bits: positive floats are ordered like integers."""
    bits, most = x.view(np.int32), np.int32(0)
    for i in range(len(bits)):
        most = max(most, bits[i] & np.int32(0x7FFFFFFF))
    return _as_float(most)


@_inner
def row_scale_of(x):
    """The scale that spreads a row over -127 … 127."""
    return max(_largest(x), _SMALLEST) * np.float32(1 / 127)


@_inner
def quantise_row(x, q):
    """q = x rounded to int8; returns its scale."""
    scale = row_scale_of(x)
    for i in range(len(x)):
        q[i] = np.int8(np.int32(round_even(x[i] / scale)))
    return scale


@_inner
def exp(x):
    """Cephes' expf, good to two units in the last place, in what vectorises; NaN stays NaN in this order of clamps."""
    x = np.float32(-87.0) if x < np.float32(-87.0) else x
    x = np.float32(88.0) if x > np.float32(88.0) else x
    n = round_even(x * np.float32(1.4426950408889634))
    r = x - n * np.float32(0.693359375) + n * np.float32(2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = p * r * r + r + np.float32(1)
    return p * _as_float((np.int32(n) + np.int32(127)) << np.int32(23))


@_inner
def silu(x):
    return x / (np.float32(1) + exp(-x))


@_kernel(_A, _A, types.float64, _A, _A, _A)
def rms_norm(x, weight, eps, rows, size, out):
    """out = RMSNorm(x) * weight, (rows, size)."""
    xs, ws, outs = floats(x, rows * size), floats(weight, size), floats(out, rows * size)
    for r in range(rows):
        row, to = xs[r * size : (r + 1) * size], outs[r * size : (r + 1) * size]
        factor = rms(row, eps)
        for i in range(size):
            to[i] = row[i] * factor * ws[i]


@_kernel(_A, _A, _A, _A, _A)
def quantise(x, rows, size, q, row_scales):
    """q = x (rows, size) rounded to int8, with a scale for each row."""
    xs, qs, ss = floats(x, rows * size), bytes_at(q, rows * size), floats(row_scales, rows)
    for r in range(rows):
        ss[r] = quantise_row(xs[r * size : (r + 1) * size], qs[r * size : (r + 1) * size])


@_kernel(_A, _A, types.float64, _A, _A, _A, _A)
def norm_quantise(x, weight, eps, rows, size, q, row_scales):
    """`rms_norm`, then `quantise`."""
    xs, ws = floats(x, rows * size), floats(weight, size)
    qs, ss = bytes_at(q, rows * size), floats(row_scales, rows)
    normed = np.empty(size, np.float32)
    for r in range(rows):
        row = xs[r * size : (r + 1) * size]
        factor = rms(row, eps)
        for i in range(size):
            normed[i] = row[i] * factor * ws[i]
        ss[r] = quantise_row(normed, qs[r * size : (r + 1) * size])


@_kernel(_A, _A, _A, _A, _A, _A, _A)
def dequantise(sums, scales, row_scales, bias, rows, size, out):
    """out = int32 sums (rows, size) * scales (size) * row_scales (rows) + bias (size)."""
    ns, cs, ss, outs = ints(sums, rows * size), floats(scales, size), floats(row_scales, rows), floats(out, rows * size)
    for r in range(rows):
        row, to, scale = ns[r * size : (r + 1) * size], outs[r * size : (r + 1) * size], ss[r]
        for i in range(size):
            to[i] = np.float32(row[i]) * cs[i] * scale
        if bias != 0:
            bs = floats(bias, size)
            for i in range(size):
                to[i] += bs[i]


@_kernel(_A, _A, _A, _A, _A, types.float64, _A, _A, _A, _A, _A)
def add_norm_quantise(sums, scales, row_scales, hidden, weight, eps, rows, size, out, q, new_scales):
    """out = hidden + dequantised sums; q, new_scales = `norm_quantise` of that."""
    ns, cs, ss = ints(sums, rows * size), floats(scales, size), floats(row_scales, rows)
    hs, ws, outs = floats(hidden, rows * size), floats(weight, size), floats(out, rows * size)
    qs, news = bytes_at(q, rows * size), floats(new_scales, rows)
    normed = np.empty(size, np.float32)
    for r in range(rows):
        row, to, scale = ns[r * size : (r + 1) * size], outs[r * size : (r + 1) * size], ss[r]
        old = hs[r * size : (r + 1) * size]
        for i in range(size):
            to[i] = old[i] + np.float32(row[i]) * cs[i] * scale
        factor = rms(to, eps)
        for i in range(size):
            normed[i] = to[i] * factor * ws[i]
        news[r] = quantise_row(normed, qs[r * size : (r + 1) * size])


@_kernel(_A, _A, _A, _A, _A, _A, _A)
def gate_quantise(sums, scales, row_scales, rows, size, q, new_scales):
    """SiLU(gate) * up of dequantised sums (rows, 2 size) in two int8 digits: q (2 rows, size), first digits first."""
    ns, cs, ss = ints(sums, 2 * rows * size), floats(scales, 2 * size), floats(row_scales, rows)
    qs, news = bytes_at(q, 2 * rows * size), floats(new_scales, rows)
    gated = np.empty(size, np.float32)
    for r in range(rows):
        scale = ss[r]
        left = ns[2 * r * size : (2 * r + 1) * size]
        right = ns[(2 * r + 1) * size : (2 * r + 2) * size]
        for i in range(size):
            gated[i] = silu(np.float32(left[i]) * cs[i] * scale) * (np.float32(right[i]) * cs[size + i] * scale)
        new = row_scale_of(gated)
        high, low = qs[r * size : (r + 1) * size], qs[(rows + r) * size : (rows + r + 1) * size]
        for i in range(size):
            scaled = gated[i] / new
            whole = round_even(scaled)
            high[i] = np.int8(np.int32(whole))
            low[i] = np.int8(np.int32(round_even((scaled - whole) * DIGIT)))
        news[r] = new


@_kernel(_A, _A, _A, _A, _A, _A, _A)
def add_two_digits(sums, scales, row_scales, hidden, rows, size, out):
    """out = hidden + dequantised sums of two digits, (2 rows, size)."""
    ns, cs, ss = ints(sums, 2 * rows * size), floats(scales, size), floats(row_scales, rows)
    hs, outs = floats(hidden, rows * size), floats(out, rows * size)
    for r in range(rows):
        high, low = ns[r * size : (r + 1) * size], ns[(rows + r) * size : (rows + r + 1) * size]
        old, to, scale = hs[r * size : (r + 1) * size], outs[r * size : (r + 1) * size], ss[r]
        for i in range(size):
            to[i] = old[i] + (np.float32(high[i]) + np.float32(low[i]) * (np.float32(1) / DIGIT)) * cs[i] * scale


@_inner
def rotate_head(head, cos, sin):
    half = len(head) // 2
    for i in range(half):
        left, right = head[i], head[i + half]
        head[i] = left * cos[i] - right * sin[i]
        head[i + half] = right * cos[i + half] + left * sin[i + half]


@_kernel(_A, _A, _A, _A, _A, _A, _A, _A, types.float64, _A, _A)
def rotate(qkv, rows, width, num_heads, num_kv_heads, dim, q_norm, k_norm, eps, cos, sin):
    """In place on qkv (rows, width): norms of q's and k's heads, then rotary embedding; address 0 leaves either out."""
    xs = floats(qkv, rows * width)
    for r in range(rows):
        for h in range(num_heads + num_kv_heads):
            head = xs[r * width + h * dim : r * width + (h + 1) * dim]
            if q_norm != 0:
                weight = floats(q_norm if h < num_heads else k_norm, dim)
                factor = rms(head, eps)
                for i in range(dim):
                    head[i] = head[i] * factor * weight[i]
            if cos != 0:
                rotate_head(head, floats(cos + 4 * r * dim, dim), floats(sin + 4 * r * dim, dim))


@_summing
def softmax(scores):
    """Exponentials in place; returns their sum, by which the caller divides."""
    most, total = scores[0], np.float32(0)
    for t in range(len(scores)):
        most = max(most, scores[t])
    for t in range(len(scores)):
        scores[t] = exp(scores[t] - most)
    for t in range(len(scores)):
        total += scores[t]
    return total
