"""The 64-bit words by which Python tells the compiled decode step what lies where.

All integers are addresses or sizes. Each tuple of constants numbers the words of one block: a matrix, a layer,
the head, a step, and what the threads that share a command read and write.
"""

from __future__ import annotations

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
    ROW_SCALES,  # of quantised activations
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
EPOCH_BITS = 32  # of a ticket: they count chunks, the bits above them commands

# operations of phases
(NORM_QKV, MATMUL_QKV, ROTATE, ATTEND, QUANTISE_MIXED, MATMUL_OUT, NORM_GATE, MATMUL_GATE, QUANTISE_GATED,
 MATMUL_DOWN, NORM_HEAD, MATMUL_HEAD) = range(12)  # fmt: skip

FOLLOW, LEAD_LAYER, LEAD_HEAD, LEAD_MATMUL, LEAD_MATMULS = range(5)
