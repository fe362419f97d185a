"""A decoder layer's step as compiled code that several threads share: one new token for each of a few rows.

A command is a list of phases, and a phase is a number of chunks. Threads take chunks from one counter; a phase begins
when all chunks before it are done. So the command waits for chunks and never for a thread: a thread that comes late, or
not at all, costs only its help. The leader posts a command and works on it until it is done; a follower helps, and
returns when no command has been posted for a while. `decode_words.py` says what lies where.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit, types

from coe.models.cpu import atomics, decode_matmul, decode_phases, decode_words, row_kernels, tiles
from coe.models.cpu.atomics import add, load, pause, replace, store, yield_processor
from coe.models.cpu.decode_matmul import row_bytes
from coe.models.cpu.decode_phases import run_chunk
from coe.models.cpu.decode_words import (
    ATTEND,
    BLOCK,
    DONE,
    DOWN,
    EPOCH_BITS,
    FOLLOW,
    GATE_UP,
    INT8,
    KIND,
    LAYER_WORDS,
    LEAD_HEAD,
    LEAD_LAYER,
    LEAD_MATMULS,
    MATMUL_DOWN,
    MATMUL_GATE,
    MATMUL_HEAD,
    MATMUL_OUT,
    MATMUL_QKV,
    NORM_GATE,
    NORM_HEAD,
    NORM_QKV,
    NUM_HEADS,
    NUM_KV_HEADS,
    NUM_PHASES,
    OUT,
    OUTPUTS,
    PHASES,
    QKV,
    QUANTISE_GATED,
    QUANTISE_MIXED,
    ROTATE,
    ROWS,
    STEP,
    STEP_WORDS,
    TICKET,
    WORDS,
)
from coe.models.cpu.row_kernels import longs

__all__ = ["compiled"]

_CHUNK_BYTES = 128 << 10  # of weights: some ten microseconds of reading
_SPINS = 2000  # looks before the processor is offered to others
_A = types.int64

_inner = njit


@_inner
def _share(words, epoch):
    """Take chunks of a command until none is left."""
    at, phase, spins = words.ctypes.data, 0, 0
    while True:
        ticket = load(at + 8 * TICKET)
        taken = ticket & ((1 << EPOCH_BITS) - 1)
        if ticket >> EPOCH_BITS != epoch:
            return
        while phase < words[NUM_PHASES] and taken >= words[PHASES + 3 * phase + 2]:
            phase += 1
        if phase >= words[NUM_PHASES]:
            return
        begin = words[PHASES + 3 * phase - 1] if phase else 0
        if load(at + 8 * DONE) < begin:
            spins = _wait(spins)
        elif replace(at + 8 * TICKET, ticket, ticket + 1):
            run_chunk(words, phase, taken - begin)
            add(at + 8 * DONE, 1)
            spins = 0


@_inner
def _wait(spins):
    pause()
    if spins % _SPINS == _SPINS - 1:
        yield_processor()
    return spins + 1


@_inner
def _plan(words, operation, count, size):
    """Add a phase of `count` items, `size` of them in a chunk."""
    phase = words[NUM_PHASES]
    begin = words[PHASES + 3 * phase - 1] if phase else 0
    words[PHASES + 3 * phase] = operation
    words[PHASES + 3 * phase + 1] = size
    words[PHASES + 3 * phase + 2] = begin + (count + size - 1) // size
    words[NUM_PHASES] = phase + 1


@_inner
def _plan_matmul(words, operation, matrix, outputs, num_threads):
    """Add a matmul in chunks of about 128 KB of weights, at least four chunks for each thread."""
    size = min(_CHUNK_BYTES // row_bytes(matrix), outputs // (4 * num_threads))
    _plan(words, operation, outputs, max(8, size // 8 * 8))


@_inner
def _lead(words):
    """Post a planned command and return when it is done."""
    at = words.ctypes.data
    end = words[PHASES + 3 * words[NUM_PHASES] - 1]
    epoch = (words[TICKET] >> EPOCH_BITS) + 1
    store(at + 8 * DONE, 0)
    store(at + 8 * TICKET, epoch << EPOCH_BITS)
    _share(words, epoch)
    spins = 0
    while load(at + 8 * DONE) < end:
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
    _plan_matmul(words, MATMUL_QKV, layer[QKV:], layer[QKV + OUTPUTS], num_threads)
    _plan_attention(words, step, num_threads)
    if is_int8:
        _plan(words, QUANTISE_MIXED, rows, 1)
    _plan_matmul(words, MATMUL_OUT, layer[OUT:], layer[OUT + OUTPUTS], num_threads)
    _plan(words, NORM_GATE, rows, 1)
    _plan_matmul(words, MATMUL_GATE, layer[GATE_UP:], layer[GATE_UP + OUTPUTS] // 2, num_threads)
    if is_int8:
        _plan(words, QUANTISE_GATED, rows, 1)
    _plan_matmul(words, MATMUL_DOWN, layer[DOWN:], layer[DOWN + OUTPUTS], num_threads)


@_inner
def _plan_matmuls(words, layer, num_threads):
    _plan_matmul(words, MATMUL_QKV, layer[QKV:], layer[QKV + OUTPUTS], num_threads)
    _plan_matmul(words, MATMUL_OUT, layer[OUT:], layer[OUT + OUTPUTS], num_threads)
    _plan_matmul(words, MATMUL_GATE, layer[GATE_UP:], layer[GATE_UP + OUTPUTS] // 2, num_threads)
    _plan_matmul(words, MATMUL_DOWN, layer[DOWN:], layer[DOWN + OUTPUTS], num_threads)


@_inner
def _follow(words, last, spins_most):
    spins = 0
    while spins < spins_most:
        epoch = load(words.ctypes.data + 8 * TICKET) >> EPOCH_BITS
        if epoch == last:
            pause()
            spins += 1
        else:
            _share(words, epoch)
            last, spins = epoch, 0
    return last


@cache
def compiled() -> Any:
    """Return the compiled function: compiled in some seconds the first time on a machine, read from the cache later.

    A follower calls it with (FOLLOW, words, last epoch, spins, 0) and gets the last epoch that it has seen. A leader
    calls it with (what to lead, words, step, block, number of threads), where the block is a layer (LEAD_LAYER),
    the head with its norm (LEAD_HEAD), one matmul (LEAD_MATMUL) or a layer's matmuls without the rest, to time them
    (LEAD_MATMULS). It is one function so that it is compiled once.
    """
    # numba knows a cached function by its own file; what is in its closure counts, too
    modules = (atomics, decode_matmul, decode_phases, decode_words, row_kernels, tiles)
    files = [Path(str(module.__file__)) for module in modules]
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
        elif role == LEAD_MATMULS:
            _plan_matmuls(words, block, third)
        else:
            if role == LEAD_HEAD:
                _plan(words, NORM_HEAD, step[ROWS], 1)
            _plan_matmul(words, MATMUL_HEAD, block, block[OUTPUTS], third)
        return _lead(words)

    return run
