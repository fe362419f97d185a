"""BERT's layers on a CPU by OpenVINO: the architecture of E5, MiniLM, BGE and GTE in their small sizes.

Owns the graph, and the arithmetic that suits the processor. One text is one inference on one thread, so a vector is
independent of its batch by construction; the texts of a call run side by side, one thread each. The pieces of a text go
through the layers in one row, as far as that pays, and no token attends to another piece's: every pass over the weights
costs as much as some 40 tokens. Knows nothing about tokenizers or pooling.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["ARITHMETICS", "BertShape", "OpenVinoBert", "arithmetic_here", "is_installed"]

Floats = NDArray[np.float32]
Rows = Callable[[Sequence[int]], Floats]
Inputs = Callable[[Sequence[Sequence[int]]], dict[int, Floats]]
ARITHMETICS = ("float32", "bfloat16", "int8")
INT8_GROUP = 128  # activations that share a scale; finer is slower, coarser is less exact
MAX_LEVEL = 127
ROW_BLOCK = {"bfloat16": 16}  # AMX's tiles: 128 tokens take less time than 116
MOST_TOGETHER = {"int8": 160}  # tokens of a text whose pieces go in one row; of a longer one each piece goes alone
FAR = np.float32(-1e9)  # what is added to the attention between tokens of two pieces: its softmax is 0


class BertShape(NamedTuple):
    """What the weights do not say: heads, layers, and the epsilon of layer normalisation."""

    heads: int
    layers: int
    epsilon: float


class OpenVinoBert:
    """A BERT encoder.

    `weights` have the names of transformers' BertModel; `word_rows` gives (tokens, hidden) word vectors of ids. int8
    keeps matrices as 8-bit integers with a scale per output and rounds activations to 8 bits for the product; bfloat16
    rounds both for the product. One thread may use it at a time.
    """

    def __init__(self, weights: Mapping[str, Floats], shape: BertShape, word_rows: Rows) -> None:
        openvino = openvino_module()
        self.arithmetic = arithmetic_here()
        self._word_rows = word_rows
        first_type = weights["embeddings.token_type_embeddings.weight"][0]
        self._positions = weights["embeddings.position_embeddings.weight"] + first_type
        graph = Graph(weights, shape, is_int8=self.arithmetic == "int8").model()
        self._compiled = openvino.Core().compile_model(graph, "CPU", properties_for(self.arithmetic))
        self._request = self._compiled.create_infer_request()
        self._queue: Any = None  # made when two texts come at once

    def states(self, texts: Sequence[Sequence[Sequence[int]]]) -> list[list[Tensor]]:
        """Return (tokens, hidden) float32 for the token ids of each piece of each text."""
        most = MOST_TOGETHER.get(self.arithmetic, math.inf)
        rows = [together(pieces, most) for pieces in texts]
        found = iter(self._inferred([row for each in rows for row in each]))
        return [[states for row in each for states in cut(next(found), row)] for each in rows]

    def _inferred(self, rows: Sequence[Sequence[Sequence[int]]]) -> list[Tensor]:
        """Return (tokens, hidden) of each row of pieces, its padding included."""
        if len(rows) == 1:
            return [torch.from_numpy(self._request.infer(self._inputs(rows[0]))[0].copy())]
        if self._queue is None:
            self._queue = self._made_queue()
        found: list[Tensor] = [torch.empty(0)] * len(rows)
        for place, pieces in enumerate(rows):
            self._queue.start_async(self._inputs(pieces), (found, place))
        self._queue.wait_all()
        return found

    def for_another_thread(self) -> OneAtATime:
        """Return the same network with an inference of its own, which leaves this one a processor."""
        return OneAtATime(self._compiled.create_infer_request(), self._inputs, self.arithmetic)

    def _inputs(self, pieces: Sequence[Sequence[int]]) -> dict[int, Floats]:
        """Return the (tokens, hidden) sums of word, position and type vectors, and which token attends to which."""
        lengths = [len(ids) for ids in pieces]
        num_padding = -sum(lengths) % ROW_BLOCK.get(self.arithmetic, 1)
        rows = [self._word_rows(ids) + self._positions[: len(ids)] for ids in pieces]
        padding = np.zeros((num_padding, self._positions.shape[1]), np.float32)
        return {0: np.concatenate([*rows, padding]), 1: apart([*lengths, num_padding])}

    def _made_queue(self) -> Any:
        queue = openvino_module().AsyncInferQueue(self._compiled)
        queue.set_callback(keep)
        return queue


class OneAtATime:
    """A network whose pieces are inferred one after another. One thread may use it at a time."""

    def __init__(self, request: Any, inputs: Inputs, arithmetic: str) -> None:
        self._request, self._inputs, self.arithmetic = request, inputs, arithmetic

    def states(self, texts: Sequence[Sequence[Sequence[int]]]) -> list[list[Tensor]]:
        """Return (tokens, hidden) float32 for the token ids of each piece of each text."""
        return [[self._inferred(piece) for piece in pieces] for pieces in texts]

    def for_another_thread(self) -> OneAtATime:
        """Return one with an inference of its own."""
        request = self._request.get_compiled_model().create_infer_request()
        return OneAtATime(request, self._inputs, self.arithmetic)

    def _inferred(self, piece: Sequence[int]) -> Tensor:
        found = torch.from_numpy(self._request.infer(self._inputs([piece]))[0].copy())
        return found[: len(piece)]


def together(pieces: Sequence[Sequence[int]], most: float) -> list[Sequence[Sequence[int]]]:
    """Return the pieces of a text in rows: one for all, or where they have more than `most` tokens one for each."""
    return [pieces] if sum(map(len, pieces)) <= most else [[piece] for piece in pieces]


def cut(rows: Tensor, pieces: Sequence[Sequence[int]]) -> list[Tensor]:
    """Return the rows of each piece; behind the last there may be padding."""
    lengths = [len(ids) for ids in pieces]
    return list(rows[: sum(lengths)].split(lengths))


def keep(request: Any, place: tuple[list[Tensor], int]) -> None:
    """Put the states of an inference that has ended where its text stands."""
    found, row = place
    found[row] = torch.from_numpy(request.get_output_tensor(0).data.copy())


def apart(lengths: Sequence[int]) -> Floats:
    """Return (1, 1, tokens, tokens) to add to attention: 0 within a piece of such a length, far below between two."""
    piece = np.repeat(np.arange(len(lengths)), lengths)
    return np.where(piece[:, None] == piece, np.float32(0), FAR)[None, None]


class Graph:
    """The layers as OpenVINO's operations, from (tokens, hidden) sums of embeddings to (tokens, hidden) states.

    The second input is added to every head's (tokens, tokens) attention before its softmax.
    """

    def __init__(self, weights: Mapping[str, Floats], shape: BertShape, *, is_int8: bool) -> None:
        opset13 = openvino_module().opset13
        self._ops: Any = opset13
        self._weights = weights
        self._shape = shape
        self._is_int8 = is_int8
        self._mask: Any = opset13.parameter([1, 1, -1, -1], np.float32)

    def model(self) -> Any:
        """Return the graph, whose number of tokens is open."""
        hidden = self._weights["embeddings.LayerNorm.weight"].shape[0]
        inputs = self._ops.parameter([-1, hidden], np.float32)
        states = self._norm(inputs, "embeddings.LayerNorm")
        for number in range(self._shape.layers):
            states = self._layer(states, f"encoder.layer.{number}.")
        return openvino_module().Model([states], [inputs, self._mask], "bert")

    def _layer(self, x: Any, prefix: str) -> Any:
        ops = self._ops
        attended = self._attention(x, prefix)
        mixed = self._linear(attended, f"{prefix}attention.output.dense")
        x = self._norm(ops.add(x, mixed), f"{prefix}attention.output.LayerNorm")
        inner = ops.gelu(self._linear(x, f"{prefix}intermediate.dense"), "erf")
        return self._norm(ops.add(x, self._linear(inner, f"{prefix}output.dense")), f"{prefix}output.LayerNorm")

    def _attention(self, x: Any, prefix: str) -> Any:
        """Return (tokens, hidden): every token attends to all that the mask lets it."""
        ops = self._ops
        qkv = self._linear(x, *(f"{prefix}attention.self.{name}" for name in ("query", "key", "value")))
        hidden = self._weights[f"{prefix}attention.output.dense.weight"].shape[0]
        heads = self._ops.reshape(qkv, integers(ops, 1, -1, 3, self._shape.heads, hidden // self._shape.heads), False)
        apart = ops.transpose(heads, integers(ops, 2, 0, 3, 1, 4))  # (3, 1, heads, tokens, dim)
        parts = ops.split(apart, ops.constant(np.array(0, np.int64)), 3).outputs()
        query, key, value = (ops.squeeze(part, integers(ops, 0)) for part in parts)
        mixed = ops.scaled_dot_product_attention(query, key, value, self._mask)
        return ops.reshape(ops.transpose(mixed, integers(ops, 0, 2, 1, 3)), integers(ops, -1, hidden), False)

    def _linear(self, x: Any, *names: str) -> Any:
        """Return x @ weight.T + bias; the matrices of several names become one."""
        weight = np.concatenate([self._weights[f"{name}.weight"] for name in names])
        bias = np.concatenate([self._weights[f"{name}.bias"] for name in names])
        return self._ops.add(self._ops.matmul(x, self._matrix(weight), False, True), self._ops.constant(bias))

    def _matrix(self, weight: Floats) -> Any:
        ops = self._ops
        if not self._is_int8:
            return ops.constant(weight)
        scales = np.maximum(np.abs(weight).max(axis=1, keepdims=True) / MAX_LEVEL, np.float32(1e-12))  # (out, 1)
        levels = np.rint(weight / scales).astype(np.int8)
        return ops.multiply(ops.convert(ops.constant(levels), np.float32), ops.constant(scales))

    def _norm(self, x: Any, name: str) -> Any:
        ops = self._ops
        scaled = ops.mvn(x, integers(ops, -1), True, self._shape.epsilon, "inside_sqrt")
        weight, bias = (ops.constant(self._weights[f"{name}.{end}"]) for end in ("weight", "bias"))
        return ops.add(ops.multiply(scaled, weight), bias)


def integers(ops: Any, *values: int) -> Any:
    return ops.constant(np.array(values, np.int64))


def properties_for(arithmetic: str) -> dict[str, Any]:
    """Return OpenVINO's settings: as many inferences at once as there are processors, one thread each, none pinned.

    At least two: routing must not wait for a long text whose embedding a client asked for.
    """
    num_processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    num_threads = max(2, num_processors)
    return {
        "INFERENCE_NUM_THREADS": num_threads,
        "NUM_STREAMS": num_threads,
        "ENABLE_CPU_PINNING": False,  # pinned threads of two processes would share one core
        "INFERENCE_PRECISION_HINT": "bf16" if arithmetic == "bfloat16" else "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": INT8_GROUP if arithmetic == "int8" else 0,
    }


def arithmetic_here() -> str:
    """Return the fastest arithmetic of this processor: bfloat16 with AMX, int8 with VNNI, else float32."""
    if torch.cpu._is_amx_tile_supported():
        return "bfloat16"
    return "int8" if torch.cpu._is_vnni_supported() else "float32"


def openvino_module() -> Any:
    """Return the package, imported without its telemetry, which reports each import to its makers' analytics.

    It sends from a thread that can keep a process from ending, too. Raises ImportError where OpenVINO is not installed.
    """
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # importing it raises ImportError
    return importlib.import_module("openvino")


def is_installed() -> bool:
    """Return whether OpenVINO can be imported."""
    try:
        openvino_module()
    except ImportError:
        return False
    return True
