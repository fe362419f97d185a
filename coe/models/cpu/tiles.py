"""The innermost loops of a CPU decode step as LLVM vectors: dot products of a few weight rows with a few tokens.

A tile keeps every sum in a register while it walks along the rows, so a weight is read from memory once for up to
`MAX_ROWS` tokens, and the next tile's weights are prefetched meanwhile. Every tile adds in the same order, so a
token's result has the same bits whatever other tokens are computed with it. The functions are called from numba's
compiled code; they take addresses and sizes and check nothing.

Weights are float32, bfloat16 (widened exactly) or int8 (times int16 activations, summed exactly in int32). LLVM turns
the last into what the processor has: VNNI's vpdpwssd, vpmaddwd, NEON's smlal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import binding, ir
from numba import config, types
from numba.extending import intrinsic

__all__ = ["LANES", "MAX_ROWS", "dot_tile", "mix_tile"]

MAX_ROWS = 8


def _lanes() -> int:
    """Return how many float32 numbers a vector register holds, of the processor that numba compiles for."""
    features = config.CPU_FEATURES or binding.get_host_cpu_features().flatten()
    return 16 if "+avx512f" in features else 8 if "+avx2" in features else 4


LANES = _lanes()

_I8, _I16, _I32, _I64, _F32 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()
_FLOATS, _SUMS = ir.VectorType(_F32, LANES), ir.VectorType(_I32, LANES)
_PAIRS, _WIDE = ir.VectorType(_I16, 2 * LANES), ir.VectorType(_I32, 2 * LANES)

_Values = Sequence[Any]
_WEIGHT_BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}


def dot_tile(kind: str, num_outputs: int, num_rows: int) -> Any:
    """out[r, n] = sum over k of w[n, k] * x[r, k], for `num_outputs` n and `num_rows` r.

    (w, w_stride, x, x_stride, size, out, out_stride): addresses, and strides in bytes. x and out are float32, or int16
    and int32 for int8 weights. `size` is a multiple of LANES, of 2 * LANES for int8.
    """
    is_int8 = kind == "int8"
    step, x_bytes = (2 * LANES, 2) if is_int8 else (LANES, 4)
    zero = ir.Constant(_SUMS, [0] * LANES) if is_int8 else ir.Constant(_FLOATS, [0.0] * LANES)
    load = {"float32": _load_float32, "bfloat16": _load_bfloat16, "int8": _load_int8}[kind]
    multiply_add = _multiply_add_int if is_int8 else _multiply_add_float

    def emit(builder: Any, w: Any, w_stride: Any, x: Any, x_stride: Any, size: Any, out: Any, out_stride: Any) -> None:
        weights, rows = _spaced(builder, w, w_stride, num_outputs), _spaced(builder, x, x_stride, num_rows)
        tile_bytes = builder.mul(w_stride, _I64(num_outputs))

        def body(k: Any, sums: _Values) -> _Values:
            there = [builder.add(row, builder.mul(k, _I64(_WEIGHT_BYTES[kind]))) for row in weights]
            values = [load(builder, address) for address in there]
            for address in there:
                _prefetch(builder, builder.add(address, tile_bytes))
            found = []
            for r, row in enumerate(rows):
                address = builder.add(row, builder.mul(k, _I64(x_bytes)))
                activation = _load_int16(builder, address) if is_int8 else _load_float32(builder, address)
                for n, value in enumerate(values):
                    found.append(multiply_add(builder, value, activation, sums[r * num_outputs + n]))
            return found

        sums = _loop(builder, size, step, [zero] * (num_outputs * num_rows), body)
        totals = _totals(builder, sums)
        for r, row in enumerate(_spaced(builder, out, out_stride, num_rows)):
            for n in range(num_outputs):
                _store(builder, totals[r * num_outputs + n], builder.add(row, _I64(4 * n)))

    return _function(emit)


def mix_tile(num_vectors: int, num_rows: int) -> Any:
    """out[r, i] = sum over t of shares[r, t] * values[t, i], for LANES * `num_vectors` i and `num_rows` r; all float32.

    (values, values_stride, shares, shares_stride, length, out, out_stride): addresses, and strides in bytes.
    """
    zero = ir.Constant(_FLOATS, [0.0] * LANES)

    def emit(builder: Any, values: Any, v_stride: Any, shares: Any, s_stride: Any, *rest: Any) -> None:
        length, out, out_stride = rest
        rows = _spaced(builder, shares, s_stride, num_rows)

        def body(t: Any, sums: _Values) -> _Values:
            at = builder.add(values, builder.mul(t, v_stride))
            found = []
            vectors = [_load_float32(builder, builder.add(at, _I64(4 * LANES * i))) for i in range(num_vectors)]
            for r, row in enumerate(rows):
                share = _load(builder, builder.add(row, builder.mul(t, _I64(4))), _F32, 4)
                for i, vector in enumerate(vectors):
                    spread = _spread(builder, share)
                    found.append(_multiply_add_float(builder, vector, spread, sums[r * num_vectors + i]))
            return found

        sums = _loop(builder, length, 1, [zero] * (num_vectors * num_rows), body)
        for r, row in enumerate(_spaced(builder, out, out_stride, num_rows)):
            for i in range(num_vectors):
                _store(builder, sums[r * num_vectors + i], builder.add(row, _I64(4 * LANES * i)))

    return _function(emit)


def _function(emit: Callable[..., None]) -> Any:
    """A numba function of seven integers that returns nothing."""
    signature = types.void(*[types.int64] * 7)

    def build(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        emit(builder, *arguments)
        return context.get_dummy_value()

    def typed(_context: Any, _a: Any, _b: Any, _c: Any, _d: Any, _e: Any, _f: Any, _g: Any) -> Any:
        return signature, build

    return intrinsic(typed)


# -- pieces of tiles


def _loop(builder: Any, end: Any, step: int, first: _Values, body: Callable[[Any, _Values], _Values]) -> _Values:
    """for k in range(0, end, step), at least once; `body` turns the carried values into the next ones."""
    before, head = builder.block, builder.append_basic_block("tile")
    after = builder.append_basic_block("after")
    builder.branch(head)
    builder.position_at_end(head)
    k = builder.phi(_I64)
    k.add_incoming(_I64(0), before)
    carried = [builder.phi(value.type) for value in first]
    for phi, value in zip(carried, first, strict=True):
        phi.add_incoming(value, before)
    found = body(k, carried)
    following = builder.add(k, _I64(step))
    k.add_incoming(following, builder.block)
    for phi, value in zip(carried, found, strict=True):
        phi.add_incoming(value, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, end), head, after)
    builder.position_at_end(after)
    return found


def _spaced(builder: Any, address: Any, stride: Any, count: int) -> _Values:
    return [builder.add(address, builder.mul(stride, _I64(i))) for i in range(count)]


def _load(builder: Any, address: Any, kind: Any, alignment: int) -> Any:
    value = builder.load(builder.inttoptr(address, kind.as_pointer()))
    value.align = alignment
    return value


def _store(builder: Any, value: Any, address: Any) -> None:
    builder.store(value, builder.inttoptr(address, value.type.as_pointer())).align = 4


def _load_float32(builder: Any, address: Any) -> Any:
    return _load(builder, address, _FLOATS, 4)


def _load_bfloat16(builder: Any, address: Any) -> Any:
    """The upper halves of float32 numbers."""
    halves = _load(builder, address, ir.VectorType(_I16, LANES), 2)
    bits = builder.shl(builder.zext(halves, _SUMS), ir.Constant(_SUMS, [16] * LANES))
    return builder.bitcast(bits, _FLOATS)


def _load_int8(builder: Any, address: Any) -> Any:
    return builder.sext(_load(builder, address, ir.VectorType(_I8, 2 * LANES), 1), _WIDE)


def _load_int16(builder: Any, address: Any) -> Any:
    return builder.sext(_load(builder, address, _PAIRS, 2), _WIDE)


def _multiply_add_float(builder: Any, left: Any, right: Any, total: Any) -> Any:
    return builder.call(_declared(builder, f"llvm.fmuladd.v{LANES}f32", _FLOATS, [_FLOATS] * 3), [left, right, total])


def _multiply_add_int(builder: Any, left: Any, right: Any, total: Any) -> Any:
    """Products of neighbours are added in pairs: LLVM recognises this shape as one instruction."""
    products = builder.mul(left, right)
    even, odd = (_shuffled(builder, products, products, range(start, 2 * LANES, 2)) for start in (0, 1))
    return builder.add(total, builder.add(even, odd))


def _spread(builder: Any, scalar: Any) -> Any:
    one = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), scalar, _I32(0))
    return _shuffled(builder, one, one, [0] * LANES)


def _shuffled(builder: Any, left: Any, right: Any, order: Sequence[int]) -> Any:
    order = list(order)
    return builder.shuffle_vector(left, right, ir.Constant(ir.VectorType(_I32, len(order)), order))


def _prefetch(builder: Any, address: Any) -> None:
    """Fetch for reading, into every cache; an address that is not there does no harm."""
    pointer = _I8.as_pointer()
    fetch = _declared(builder, "llvm.prefetch.p0", ir.VoidType(), [pointer, _I32, _I32, _I32])
    builder.call(fetch, [builder.inttoptr(address, pointer), _I32(0), _I32(3), _I32(1)])


def _declared(builder: Any, name: str, returned: Any, arguments: Sequence[Any]) -> Any:
    found = builder.module.globals.get(name)
    return found or ir.Function(builder.module, ir.FunctionType(returned, arguments), name)


def _totals(builder: Any, vectors: _Values) -> _Values:
    """The sum of each vector's lanes, halves added to halves; as long as there are two vectors, two at a time.

    Which vectors share an addition changes no sum's order.
    """
    add = builder.fadd if vectors[0].type == _FLOATS else builder.add
    width, shared = LANES, 1  # lanes of one sum in a vector, sums in a vector
    while width > 1:
        half = width // 2
        lows = [part * width + i for part in range(shared) for i in range(half)]
        highs = [at + half for at in lows]
        if len(vectors) % 2 == 0:
            other = shared * width
            lows += [other + at for at in lows]
            highs += [other + at for at in highs]
            pairs = list(zip(vectors[::2], vectors[1::2], strict=True))
            shared *= 2
        else:
            pairs = [(vector, vector) for vector in vectors]
        vectors = [add(_shuffled(builder, a, b, lows), _shuffled(builder, a, b, highs)) for a, b in pairs]
        width = half
    return [builder.extract_element(vector, _I32(part)) for vector in vectors for part in range(shared)]
